#include "trainer/data/hf/pre_tokenizer.h"

#include <string>

#include "common/wording.h"
#include "trainer/data/hf/byte_level.h"
#include "trainer/data/hf/metaspace.h"
#include "trainer/data/hf/split.h"
#include "trainer/data/hf/unicode.h"

namespace enodia {
namespace {

// The pattern with which GPT-2 was trained (ByteLevel with use_regex).
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void hand_over(std::string_view text,
               const std::vector<TextRange>& ranges,
               bool first,
               const PreTokenizer::PieceSink& sink) {
  for (const TextRange& range : ranges) {
    if (range.end > range.begin) {
      sink(text.substr(range.begin, range.end - range.begin), first && range.begin == 0);
    }
  }
}

/// Runs of characters of words, and runs of what is neither that nor white space.
std::vector<TextRange> find_words(std::string_view text) {
  const auto kind_of = [](char32_t c) {
    return is_white_space(c) ? 0 : is_word_character(c) ? 1 : 2;
  };
  std::vector<TextRange> words;
  int before = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t begin = text.size() - rest.size();
    const int kind = kind_of(take_character(rest));
    if (kind != 0 && kind != before) {
      words.push_back({begin, begin});
    }
    if (kind != 0) {
      words.back().end = text.size() - rest.size();
    }
    before = kind;
  }
  return words;
}

bool flag_or(const JsonField& description, std::string_view key, bool otherwise) {
  const auto flag = description.find(key);
  return flag ? flag->flag() : otherwise;
}

}  // namespace

void PreTokenizer::operator()(std::string_view text, bool first, const PieceSink& sink) const {
  std::vector<size_t> given(steps_.size() + 1);
  run(0, text, first, sink, GrowthBound(where_, text.size()), given);
}

void PreTokenizer::run(size_t step,
                       std::string_view piece,
                       bool first,
                       const PieceSink& sink,
                       const GrowthBound& bound,
                       std::vector<size_t>& given) const {
  given[step] += piece.size();
  bound.check(given[step]);
  if (step == steps_.size()) {
    sink(piece, first);
    return;
  }
  steps_[step](piece, first, [&](std::string_view part, bool part_first) {
    run(step + 1, part, part_first, sink, bound, given);
  });
}

void PreTokenizer::add(const JsonField& description) {
  const std::string type = description.at("type").text();
  const auto add_splitter = [this](Splitter splitter) {
    steps_.emplace_back(
        [splitter = std::move(splitter)](std::string_view piece, bool first, const auto& sink) {
          hand_over(piece, splitter(piece), first, sink);
        });
  };
  if (type == "Sequence") {
    for (const JsonField& step : description.at("pretokenizers").elements()) {
      add(step);
    }
  } else if (type == "ByteLevel") {
    add_byte_level(description);
  } else if (type == "Metaspace") {
    add_metaspace(description);
  } else if (type == "Split") {
    add_splitter({read_pattern(description.at("pattern")),
                  read_split_behavior(description.at("behavior")),
                  flag_or(description, "invert", false)});
  } else if (type == "Digits") {
    const bool alone = flag_or(description, "individual_digits", false);
    add_splitter({character_pattern(is_number),
                  alone ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
  } else if (type == "WhitespaceSplit") {
    add_splitter({character_pattern(is_white_space), SplitBehavior::kRemoved});
  } else if (type == "Whitespace") {
    add_splitter({find_words, SplitBehavior::kRemoved, true});
  } else {
    description.at("type").fail(
        quote(type) +
        " is a pre-tokenizer that Enodia does not know; it knows ByteLevel, "
        "Split, Metaspace, Digits, Whitespace, WhitespaceSplit and Sequence");
  }
}

void PreTokenizer::add_byte_level(const JsonField& description) {
  const bool add_space = flag_or(description, "add_prefix_space", true);
  Splitter splitter{[](std::string_view text) { return std::vector<TextRange>{{0, text.size()}}; }};
  if (flag_or(description, "use_regex", true)) {
    splitter.pattern = [regex = Regex(kGpt2Pattern, description.where())](std::string_view text) {
      return regex.find_all(text);
    };
  }
  steps_.emplace_back([=](std::string_view piece, bool first, const PieceSink& sink) {
    std::string spaced;
    if (add_space && !piece.starts_with(' ')) {
      spaced.append(" ").append(piece);
      piece = spaced;
    }
    hand_over(piece, splitter(piece), first, [&](std::string_view part, bool part_first) {
      sink(spell_bytes(part), part_first);
    });
  });
}

void PreTokenizer::add_metaspace(const JsonField& description) {
  const Metaspace metaspace(description);
  Splitter splitter{.pattern = {}, .behavior = SplitBehavior::kMergedWithNext};
  splitter.pattern =
      character_pattern([symbol = metaspace.character()](char32_t c) { return c == symbol; });
  steps_.emplace_back([=](std::string_view piece, bool first, const PieceSink& sink) {
    const std::string text = metaspace.mark(piece, first);
    if (metaspace.splits()) {
      hand_over(text, splitter(text), first, sink);
    } else {
      sink(text, first);
    }
  });
}

}  // namespace enodia
