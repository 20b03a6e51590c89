#include "trainer/data/hf/unicode.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "common/check.h"
#include "trainer/data/documents.h"

#include <utf8proc.h>

namespace enodia {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

uint8_t byte_at(std::string_view text, size_t at) {
  return static_cast<uint8_t>(text[at]);
}

/// Bytes of the longest beginning of a character at the start of `text`, which begins with no whole
/// one: 1 when not even its first byte can begin a character.
size_t broken_length(std::string_view text) {
  const uint8_t first = byte_at(text, 0);
  if (first < 0xC2 || first > 0xF4 || text.size() == 1) {
    return 1;
  }
  const uint8_t second = byte_at(text, 1);
  const uint8_t least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const uint8_t most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (second < least || second > most) {
    return 1;
  }
  const size_t whole = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  size_t length = 2;
  while (length < whole && length < text.size() && (byte_at(text, length) & 0xC0) == 0x80) {
    ++length;
  }
  return length;
}

utf8proc_category_t category_of(char32_t character) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(character));
}

bool is_ascii(std::string_view text) {
  return std::all_of(
      text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 128; });
}

int options_of(UnicodeForm form) {
  switch (form) {
    case UnicodeForm::kNFC:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case UnicodeForm::kNFD:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case UnicodeForm::kNFKC:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    default:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
  }
}

}  // namespace

char32_t take_character(std::string_view& text) {
  const uint8_t first = byte_at(text, 0);
  const size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  char32_t character = length == 1 ? first : first & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    character = (character << 6) | (byte_at(text, i) & 0x3F);
  }
  text.remove_prefix(length);
  return character;
}

void append_utf8(std::string& text, char32_t character) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

std::string replace_invalid_utf8(std::string text) {
  size_t valid = find_invalid_utf8(text);
  if (valid == text.size()) {
    return text;
  }
  std::string repaired;
  for (std::string_view rest = text; !rest.empty(); valid = find_invalid_utf8(rest)) {
    repaired += rest.substr(0, valid);
    rest.remove_prefix(valid);
    if (!rest.empty()) {
      repaired += kReplacement;
      rest.remove_prefix(broken_length(rest));
    }
  }
  return repaired;
}

bool is_white_space(char32_t character) {
  return (character >= 0x09 && character <= 0x0D) || character == 0x85 ||
         category_of(character) == UTF8PROC_CATEGORY_ZS ||
         category_of(character) == UTF8PROC_CATEGORY_ZL ||
         category_of(character) == UTF8PROC_CATEGORY_ZP;
}

bool is_word_character(char32_t character) {
  switch (category_of(character)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:  // Join_Control, and the symbols that are Other_Alphabetic
      return character == 0x200C || character == 0x200D ||
             (character >= 0x24B6 && character <= 0x24E9) ||
             (character >= 0x1F130 && character <= 0x1F149) ||
             (character >= 0x1F150 && character <= 0x1F169) ||
             (character >= 0x1F170 && character <= 0x1F189);
  }
}

bool is_number(char32_t character) {
  const utf8proc_category_t category = category_of(character);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

std::string normalize_unicode(const std::string& text, UnicodeForm form) {
  if (is_ascii(text)) {
    return text;
  }
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()),
                   &result,
                   static_cast<utf8proc_option_t>(options_of(form)));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(result, std::free);
  ENODIA_CHECK(length >= 0, utf8proc_errmsg(length));
  return std::string(reinterpret_cast<const char*>(result), static_cast<size_t>(length));
}

std::string to_lower_case(const std::string& text) {
  std::string lower;
  lower.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const char32_t character = take_character(rest);
    if (character == 0x130) {
      lower += "i\xCC\x87";  // the one letter whose small form is two characters
    } else {
      append_utf8(
          lower, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(character))));
    }
  }
  return lower;
}

}  // namespace enodia
