#pragma once

#include <string>
#include <string_view>

namespace enodia {

/// GPT-2's spelling of bytes as characters: the printable ones of Latin-1 stand for themselves, the
/// other 68 bytes for U+0100 and on, so that no token holds a space or a control character.
std::string spell_bytes(std::string_view bytes);

/// The bytes that a token spells; the token itself when it holds a character that spells none.
std::string read_spelled_bytes(std::string_view token);

}  // namespace enodia
