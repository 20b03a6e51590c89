#include "common/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "common/check.h"

namespace enodia {

// SplitMix64 finalizer over the sum: full avalanche, so nearby steps and ids give unrelated keys.
uint64_t RandomKey::mix(uint64_t a, uint64_t b) {
  uint64_t z = a * 0xD1342543DE82EF95ULL + b + 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

RandomKey RandomKey::with(uint64_t ingredient) const {
  RandomKey key = *this;
  key.value_ = mix(value_, ingredient);
  return key;
}

RandomKey RandomKey::with(std::string_view name) const {
  uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
  for (const char c : name) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ULL;
  }
  return with(hash);
}

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53U} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57U} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0],
         static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1],
         static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return c;
}

std::array<uint32_t, 4> philox(RandomKey key, uint64_t counter) {
  return philox({static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0},
                {static_cast<uint32_t>(key.value()), static_cast<uint32_t>(key.value() >> 32)});
}

namespace {

double to_unit(uint32_t high, uint32_t low) {
  const uint64_t bits = (uint64_t{high} << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

}  // namespace

double random_uniform(RandomKey key, uint64_t counter) {
  const auto words = philox(key, counter);
  return to_unit(words[0], words[1]);
}

double random_normal(RandomKey key, uint64_t counter) {
  const auto words = philox(key, counter);
  const double u = 1.0 - to_unit(words[0], words[1]);  // in (0, 1]: the logarithm is finite
  const double v = to_unit(words[2], words[3]);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

uint64_t random_permutation(RandomKey key, uint64_t size, uint64_t index) {
  ENODIA_CHECK(index < size, "index ", index, " of a permutation of ", size);
  const int bits = std::max(2, static_cast<int>(std::bit_width(size - 1)));
  const int half = (bits + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t value = index;
  do {  // the Feistel network permutes [0, 4^half); walk until we are back inside [0, size)
    uint64_t left = value >> half;
    uint64_t right = value & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t next = left ^ (philox(key.with(round), right)[0] & mask);
      left = right;
      right = next;
    }
    value = left << half | right;
  } while (value >= size);
  return value;
}

}  // namespace enodia
