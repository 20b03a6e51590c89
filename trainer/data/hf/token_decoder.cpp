#include "trainer/data/hf/token_decoder.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "common/wording.h"
#include "trainer/data/documents.h"
#include "trainer/data/hf/byte_level.h"
#include "trainer/data/hf/metaspace.h"
#include "trainer/data/hf/pattern.h"
#include "trainer/data/hf/unicode.h"

namespace enodia {
namespace {

using Tokens = std::vector<std::string>;

std::string join(const Tokens& tokens, const std::string& separator = "") {
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    text += (i == 0 ? "" : separator) + tokens[i];
  }
  return text;
}

size_t count_bytes(const Tokens& tokens) {
  return std::accumulate(
      tokens.begin(), tokens.end(), size_t{0}, [](size_t sum, const auto& token) {
        return sum + token.size();
      });
}

/// The step that changes each token on its own.
template <typename Change>
auto for_each_token(Change change) {
  return [change = std::move(change)](Tokens tokens, const GrowthBound& bound) {
    size_t bytes = 0;
    for (std::string& token : tokens) {
      token = change(token, bound);
      bytes += token.size();
      bound.check(bytes);
    }
    return tokens;
  };
}

Tokens decode_byte_level(Tokens tokens, const GrowthBound&) {
  for (std::string& token : tokens) {
    token = read_spelled_bytes(token);
  }
  return {replace_invalid_utf8(join(tokens))};
}

/// Whether the token is "<0x41>" or its like; `byte` is then what it stands for.
bool names_byte(const std::string& token, char& byte) {
  const auto is_digit = [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; };
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>' ||
      !is_digit(token[3]) || !is_digit(token[4])) {
    return false;
  }
  byte = static_cast<char>(std::strtol(token.substr(3, 2).c_str(), nullptr, 16));
  return true;
}

/// Runs of byte tokens become text when they are UTF-8, else U+FFFD for each byte.
Tokens decode_byte_fallback(const Tokens& tokens, const GrowthBound&) {
  Tokens decoded;
  std::string run;
  const auto end_run = [&] {
    if (!run.empty() && find_invalid_utf8(run) == run.size()) {
      decoded.push_back(run);
    } else {
      decoded.insert(decoded.end(), run.size(), "\xEF\xBF\xBD");
    }
    run.clear();
  };
  for (const std::string& token : tokens) {
    char byte = 0;
    if (names_byte(token, byte)) {
      run += byte;
    } else {
      end_run();
      decoded.push_back(token);
    }
  }
  end_run();
  return decoded;
}

/// Takes up to `start` times `content` from the front and `stop` times from the back.
std::string strip(std::string_view token, std::string_view content, int64_t start, int64_t stop) {
  for (int64_t i = 0; i < start && token.starts_with(content); ++i) {
    token.remove_prefix(content.size());
  }
  for (int64_t i = 0; i < stop && token.ends_with(content); ++i) {
    token.remove_suffix(content.size());
  }
  return std::string(token);
}

Tokens unmark_spaces(Tokens tokens, const Metaspace& metaspace) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = metaspace.unmark(tokens[i], i == 0);
  }
  return tokens;
}

}  // namespace

std::string TokenDecoder::operator()(Tokens tokens) const {
  const GrowthBound bound(where_, count_bytes(tokens));
  for (const Step& step : steps_) {
    tokens = step(std::move(tokens), bound);
  }
  return join(tokens, separator_);
}

void TokenDecoder::add(const JsonField& description) {
  const std::string type = description.at("type").text();
  if (type == "Sequence") {
    for (const JsonField& step : description.at("decoders").elements()) {
      add(step);
    }
  } else if (type == "ByteLevel") {
    steps_.emplace_back(decode_byte_level);
  } else if (type == "ByteFallback") {
    steps_.emplace_back(decode_byte_fallback);
  } else if (type == "Fuse") {
    steps_.emplace_back(
        [](const Tokens& tokens, const GrowthBound&) { return Tokens{join(tokens)}; });
  } else if (type == "Metaspace") {
    steps_.emplace_back([metaspace = Metaspace(description)](Tokens tokens, const GrowthBound&) {
      return unmark_spaces(std::move(tokens), metaspace);
    });
  } else if (type == "Replace") {
    steps_.emplace_back(for_each_token([pattern = read_pattern(description.at("pattern")),
                                        content = description.at("content").text()](
                                           const std::string& token, const GrowthBound& bound) {
      return replace_matches(token, pattern, content, bound);
    }));
  } else if (type == "Strip") {
    const std::string content = description.at("content").text();
    if (content.empty()) {
      description.at("content").fail("must be one character");
    }
    steps_.emplace_back(for_each_token(
        [content, start = description.at("start").count(), stop = description.at("stop").count()](
            const std::string& token, const GrowthBound&) {
          return strip(token, content, start, stop);
        }));
  } else {
    description.at("type").fail(quote(type) +
                                " is a decoder that Enodia does not know; it knows ByteLevel, "
                                "Metaspace, Replace, ByteFallback, Fuse, Strip and Sequence");
  }
}

}  // namespace enodia
