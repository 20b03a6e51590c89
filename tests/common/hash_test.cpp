#include "common/hash.h"

#include <string>

#include <gtest/gtest.h>

namespace enodia {
namespace {

TEST(Hash, KnownAnswers) {
  // XXH3-128 with seed 0, as `xxhsum -H2` prints it.
  EXPECT_EQ(hash_of("", 0), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash_of("abc", 3), "06b05ab6733a618578af5f94892f3950");
}

TEST(Hash, PiecesHashAsTheWhole) {
  std::string text;
  for (int i = 0; i < 5000; ++i) {
    text += static_cast<char>(i * 7);
  }
  Hasher hasher;
  for (size_t first = 0, length = 1; first < text.size(); first += length, length += 13) {
    hasher.update(text.data() + first, std::min(length, text.size() - first));
    if (first + length >= text.size()) {
      break;
    }
  }
  EXPECT_EQ(hasher.hex(), hash_of(text.data(), text.size()));
  text[4000] ^= 1;
  EXPECT_NE(hasher.hex(), hash_of(text.data(), text.size()));
}

}  // namespace
}  // namespace enodia
