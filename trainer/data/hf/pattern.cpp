#include "trainer/data/hf/pattern.h"

#include "trainer/data/hf/unicode.h"

namespace enodia {
namespace {

std::vector<TextRange> find_text(std::string_view text, const std::string& wanted) {
  std::vector<TextRange> matches;
  size_t at = text.find(wanted);
  while (at != std::string_view::npos) {
    matches.push_back({at, at + wanted.size()});
    at = text.find(wanted, at + wanted.size());
  }
  return matches;
}

}  // namespace

Pattern read_pattern(const JsonField& description) {
  if (const auto expression = description.find("Regex")) {
    return [regex = Regex(expression->text(), expression->where())](std::string_view text) {
      return regex.find_all(text);
    };
  }
  const JsonField wanted = description.at("String");
  if (wanted.text().empty()) {
    wanted.fail("must not be empty");
  }
  return [wanted = wanted.text()](std::string_view text) { return find_text(text, wanted); };
}

Pattern character_pattern(std::function<bool(char32_t)> matches) {
  return [matches = std::move(matches)](std::string_view text) {
    std::vector<TextRange> found;
    for (std::string_view rest = text; !rest.empty();) {
      const size_t begin = text.size() - rest.size();
      if (matches(take_character(rest))) {
        found.push_back({begin, text.size() - rest.size()});
      }
    }
    return found;
  };
}

std::string replace_matches(std::string_view text,
                            const Pattern& pattern,
                            std::string_view replacement,
                            const GrowthBound& bound) {
  const std::vector<TextRange> matches = pattern(text);
  size_t bytes = text.size() + matches.size() * replacement.size();
  for (const TextRange& match : matches) {
    bytes -= match.end - match.begin;
  }
  bound.check(bytes);
  std::string result;
  size_t done = 0;
  for (const TextRange& match : matches) {
    result.append(text.substr(done, match.begin - done)).append(replacement);
    done = match.end;
  }
  return result.append(text.substr(done));
}

}  // namespace enodia
