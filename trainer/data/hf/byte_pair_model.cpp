#include "trainer/data/hf/byte_pair_model.h"

#include <algorithm>
#include <cstdio>

#include "common/check.h"
#include "common/error.h"
#include "common/wording.h"
#include "trainer/data/hf/unicode.h"

namespace enodia {
namespace {

uint64_t key_of(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
}

bool flag_of(const JsonField& description, std::string_view key) {
  const auto flag = description.find(key);
  return flag && flag->flag();
}

/// Both parts of "a b" or ["a", "b"].
std::pair<std::string, std::string> parts_of(const JsonField& merge) {
  if (merge.value().is_array() && merge.value().size() == 2) {
    const auto parts = merge.elements();
    return {parts[0].text(), parts[1].text()};
  }
  const std::string text = merge.value().is_string() ? merge.text() : std::string();
  const size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
    merge.fail("must be two tokens, as \"a b\" or [\"a\", \"b\"]");
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

}  // namespace

BytePairModel::BytePairModel(const JsonField& description) : where_(description.where()) {
  if (const auto type = description.find("type"); type && type->text() != "BPE") {
    type->fail(quote(type->text()) +
               " is a model that Enodia does not know; it knows BPE, and SentencePiece models in "
               "their own file (tokenizer.model)");
  }
  read_options(description);
  read_vocabulary(description.at("vocab"));
  read_merges(description.at("merges"));
  index_characters();
}

void BytePairModel::read_options(const JsonField& description) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (const auto affix = description.find(key); affix && !affix->text().empty()) {
      affix->fail(quote(affix->text()) + " must be empty or null: Enodia does not know affixes");
    }
  }
  if (const auto dropout = description.find("dropout");
      dropout && !(dropout->value().is_number() && dropout->value().get<double>() == 0.0)) {
    dropout->fail("must be null: the ids of a text would be random");
  }
  ignores_merges_ = flag_of(description, "ignore_merges");
  has_byte_fallback_ = flag_of(description, "byte_fallback");
  fuses_unknown_ = flag_of(description, "fuse_unk");
  if (const auto unknown = description.find("unk_token")) {
    unknown_ = unknown->text();
  }
}

void BytePairModel::read_vocabulary(const JsonField& vocabulary) {
  if (!vocabulary.value().is_object() || vocabulary.value().empty()) {
    vocabulary.fail("must be an object of tokens and ids");
  }
  ids_.reserve(vocabulary.value().size());
  tokens_.reserve(vocabulary.value().size());
  for (const auto& [token, id] : vocabulary.value().items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{kMaxId}) {
      vocabulary.fail(detail::concat(
          quote(token), " has the id ", quote(id.dump()), ", which must lie from 0 to ", kMaxId));
    }
    const auto number = id.get<int32_t>();
    const auto entry = ids_.emplace(token, number).first;
    const auto [known, is_new] = tokens_.emplace(number, &entry->first);
    if (!is_new) {
      vocabulary.fail(detail::concat(
          "gives the id ", number, " to both ", quote(*known->second), " and ", quote(token)));
    }
    max_id_ = std::max<int64_t>(max_id_, number);
  }
}

void BytePairModel::read_merges(const JsonField& merges) {
  int32_t rank = 0;
  const auto list = merges.elements();
  merges_.reserve(list.size());
  for (const JsonField& merge : list) {
    if (merge.value().is_string() && merge.text().starts_with("#version")) {
      continue;
    }
    const auto [left, right] = parts_of(merge);
    const auto known = [&](const std::string& token) {
      const int32_t id = id_of(token);
      if (id == kNone) {
        merge.fail("needs the token " + quote(token) + ", which is not in the vocabulary");
      }
      return id;
    };
    // Of a pair that occurs twice the last counts, as in Hugging Face's tokenizers.
    const uint64_t pair = key_of(known(left), known(right));
    merges_.insert_or_assign(pair, PairMerge{rank++, known(left + right)});
  }
}

void BytePairModel::index_characters() {
  for (const auto& [token, id] : ids_) {
    std::string_view rest = token;
    if (rest.empty()) {
      continue;
    }
    const char32_t character = take_character(rest);
    if (rest.empty()) {
      characters_.resize(std::max<size_t>(characters_.size(), character + 1), kNone);
      characters_[character] = id;
    }
  }
  for (size_t byte = 0; byte < bytes_.size(); ++byte) {
    std::array<char, 8> name{};
    std::snprintf(name.data(), name.size(), "<0x%02X>", static_cast<unsigned>(byte));
    bytes_[byte] = id_of(name.data());
  }
}

int32_t BytePairModel::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? kNone : found->second;
}

const std::string* BytePairModel::token_of(int64_t id) const {
  const auto found = id > kMaxId ? tokens_.end() : tokens_.find(static_cast<int32_t>(id));
  return found == tokens_.end() ? nullptr : found->second;
}

const PairMerge* BytePairModel::find_merge(int32_t left, int32_t right) const {
  const auto found = merges_.find(key_of(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

int32_t BytePairModel::unknown_id() const {
  if (!unknown_) {
    return kNone;
  }
  const int32_t id = id_of(*unknown_);
  if (id == kNone) {
    throw FileError(where_ + ".unk_token " + quote(*unknown_) +
                    " is not in the vocabulary, and the text holds a character that needs it");
  }
  return id;
}

}  // namespace enodia
