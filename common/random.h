#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace enodia {

/// A 64-bit stream key: the seed mixed with what the numbers are for. Two keys that differ in any
/// ingredient give independent streams; there is no generator state anywhere.
class RandomKey {
 public:
  explicit RandomKey(uint64_t seed) : value_(mix(seed, 0x9E3779B97F4A7C15ULL)) {}
  [[nodiscard]] RandomKey with(uint64_t ingredient) const;
  [[nodiscard]] RandomKey with(std::string_view name) const;
  uint64_t value() const { return value_; }

 private:
  static uint64_t mix(uint64_t a, uint64_t b);
  uint64_t value_;
};

/// Philox 4x32-10 (Salmon et al., SC 2011): four 32-bit words for 128 bits of counter and 64 of
/// key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// The same for a stream key and a counter below 2^64, low words first.
std::array<uint32_t, 4> philox(RandomKey key, uint64_t counter);

/// Uniform in [0, 1) with 53 bits, word pair number `counter` of the key's stream.
double random_uniform(RandomKey key, uint64_t counter);

/// Standard normal (Box-Muller on the four words of `counter`).
double random_normal(RandomKey key, uint64_t counter);

/// A pseudo-random permutation of [0, size): where `index` goes. A pure function (four Feistel
/// rounds over Philox with cycle walking), so no table of `size` entries is ever held.
uint64_t random_permutation(RandomKey key, uint64_t size, uint64_t index);

}  // namespace enodia
