#include "tests/references/reference_random.h"

namespace enodia {
namespace {

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ULL;

uint64_t scramble(uint64_t a, uint64_t b) {
  uint64_t x = a * 0xD1342543DE82EF95ULL + b + kGolden;
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9ULL;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

struct Words {
  uint32_t w0, w1, w2, w3;
};

// One of the ten rounds of Philox 4x32 with its round key.
Words round_of(const Words& w, uint32_t k0, uint32_t k1) {
  const uint64_t even = static_cast<uint64_t>(w.w0) * 0xD2511F53ULL;
  const uint64_t odd = static_cast<uint64_t>(w.w2) * 0xCD9E8D57ULL;
  return {static_cast<uint32_t>(odd >> 32) ^ w.w1 ^ k0,
          static_cast<uint32_t>(odd),
          static_cast<uint32_t>(even >> 32) ^ w.w3 ^ k1,
          static_cast<uint32_t>(even)};
}

}  // namespace

ReferenceKey::ReferenceKey(uint64_t seed) : state_(scramble(seed, kGolden)) {}

ReferenceKey ReferenceKey::and_also(int64_t number) const {
  ReferenceKey key = *this;
  key.state_ = scramble(state_, static_cast<uint64_t>(number));
  return key;
}

ReferenceKey ReferenceKey::and_also(const std::string& name) const {
  uint64_t fnv = 14695981039346656037ULL;
  for (const char letter : name) {
    fnv ^= static_cast<uint8_t>(letter);
    fnv *= 1099511628211ULL;
  }
  return and_also(static_cast<int64_t>(fnv));
}

double ReferenceKey::uniform(int64_t index) const {
  Words words{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0};
  auto k0 = static_cast<uint32_t>(state_);
  auto k1 = static_cast<uint32_t>(state_ >> 32);
  for (int i = 0; i < 10; ++i) {
    words = round_of(words, k0, k1);
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  const uint64_t both = (static_cast<uint64_t>(words.w0) << 32) + words.w1;
  return static_cast<double>(both / 2048) / 9007199254740992.0;  // 2^11 and 2^53
}

}  // namespace enodia
