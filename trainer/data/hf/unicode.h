#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace enodia {

/// The character at the start of valid UTF-8 text; `text` loses it. It must not be empty.
char32_t take_character(std::string_view& text);
void append_utf8(std::string& text, char32_t character);

/// Valid UTF-8: what is none becomes U+FFFD, one for each maximal part of a character, as the
/// Unicode standard (3.9) recommends and Rust and Python do.
std::string replace_invalid_utf8(std::string text);

bool is_white_space(char32_t character);
/// A character of a word, as \w in regular expressions.
bool is_word_character(char32_t character);
/// Of the general categories Nd, Nl and No.
bool is_number(char32_t character);

enum class UnicodeForm { kNFC, kNFD, kNFKC, kNFKD };

/// A normal form (Unicode Standard Annex 15) of valid UTF-8.
std::string normalize_unicode(const std::string& text, UnicodeForm form);
std::string to_lower_case(const std::string& text);

}  // namespace enodia
