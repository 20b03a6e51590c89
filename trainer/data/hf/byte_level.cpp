#include "trainer/data/hf/byte_level.h"

#include <array>

#include "trainer/data/hf/unicode.h"

namespace enodia {
namespace {

constexpr char32_t kSpellings = 0x100 + 68;  // one past the last character that spells a byte

constexpr bool spells_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

struct Table {
  std::array<std::string, 256> characters;
  std::array<int, kSpellings> bytes{};

  Table() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t character = spells_itself(byte) ? static_cast<char32_t>(byte) : next++;
      append_utf8(characters[static_cast<size_t>(byte)], character);
      bytes[character] = byte;
    }
  }
};

const Table& table() {
  static const Table table;
  return table;
}

}  // namespace

std::string spell_bytes(std::string_view bytes) {
  std::string spelled;
  for (const char byte : bytes) {
    spelled += table().characters[static_cast<uint8_t>(byte)];
  }
  return spelled;
}

std::string read_spelled_bytes(std::string_view token) {
  std::string bytes;
  for (std::string_view rest = token; !rest.empty();) {
    const char32_t character = take_character(rest);
    if (character >= kSpellings || table().bytes[character] < 0) {
      return std::string(token);
    }
    bytes += static_cast<char>(table().bytes[character]);
  }
  return bytes;
}

}  // namespace enodia
