#include "trainer/config/yaml_characters.h"

#include "common/wording.h"

namespace enodia {
namespace {

/// Bytes of the UTF-8 character at the front, 0 when it is not one (RFC 3629: no overlong forms, no
/// surrogates, nothing above U+10FFFF).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) {
    return 1;
  }
  const size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                        : (lead & 0xf0) == 0xe0        ? 3
                        : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                       : 0;
  if (length == 0 || length > text.size()) {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return 0;
    }
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool no_character = (lead == 0xed && byte(1) >= 0xa0) || (lead == 0xf4 && byte(1) >= 0x90);
  return overlong || no_character ? 0 : length;
}

/// Why the character at the front of `rest` has no place in a configuration, empty when it has one.
std::string refuse_character(std::string_view rest, bool indenting) {
  if (utf8_length(rest) == 0) {
    return "this is not UTF-8 text; save the file as plain UTF-8";
  }
  const char c = rest.front();
  if (c == '\t' && indenting) {
    return "a tab cannot indent YAML; use spaces";
  }
  const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  if (control && c != '\n' && c != '\r' && c != '\t') {
    return "control character " + quote(rest.substr(0, 1)) + "; a configuration is plain text";
  }
  return "";
}

}  // namespace

std::optional<YamlComplaint> find_bad_characters(std::string_view text) {
  int line = 1;
  int column = 1;
  bool indenting = true;
  for (size_t i = 0; i < text.size(); i += utf8_length(text.substr(i))) {
    const std::string refusal = refuse_character(text.substr(i), indenting);
    if (!refusal.empty()) {
      return YamlComplaint{line, column, refusal};
    }
    const bool ends_line = text[i] == '\n';
    indenting = ends_line || (indenting && text[i] == ' ');
    column = ends_line ? 1 : column + static_cast<int>(utf8_length(text.substr(i)));
    line += ends_line ? 1 : 0;
  }
  return std::nullopt;
}

}  // namespace enodia
