#pragma once

// Included by portable.cpp, avx2.cpp and avx512.cpp, each compiled for its own instruction set.
// Everything here has internal linkage, and no function template or inline function of the standard
// library is called: the linker keeps one copy of those for the whole program and could pick the
// one compiled for AVX-512.

#include <cstddef>
#include <cstdint>

namespace enodia {
namespace {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#elif defined(__AVX2__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif

using Vec = float __attribute__((vector_size(kLanes * 4)));
using IntVec = int32_t __attribute__((vector_size(kLanes * 4)));
using UnalignedVec = float __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

/// How many lanes of a load or store count: all of them, or the first `count`.
struct AllLanes {};
struct SomeLanes {
  int64_t count;
};

inline Vec broadcast(float value) {
  return Vec{} + value;
}

inline Vec load(const float* p, AllLanes = {}) {
  return *reinterpret_cast<const UnalignedVec*>(p);
}
inline Vec load(const float* p, SomeLanes lanes) {
  Vec v{};
  __builtin_memcpy(&v, p, static_cast<size_t>(lanes.count) * sizeof(float));
  return v;
}
inline void store(float* p, Vec v, AllLanes = {}) {
  *reinterpret_cast<UnalignedVec*>(p) = v;
}
inline void store(float* p, Vec v, SomeLanes lanes) {
  __builtin_memcpy(p, &v, static_cast<size_t>(lanes.count) * sizeof(float));
}

/// Calls fn(i, lanes) for i = begin, begin + kLanes, ... below end.
template <typename Fn>
inline void for_lanes(int64_t begin, int64_t end, Fn fn) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    fn(i, AllLanes{});
  }
  if (i < end) {
    fn(i, SomeLanes{end - i});
  }
}

/// x in the counted lanes, `filler` in the others.
inline Vec fill_rest(Vec x, AllLanes, float) {
  return x;
}
inline Vec fill_rest(Vec x, SomeLanes lanes, float filler) {
  for (int64_t i = lanes.count; i < kLanes; ++i) {
    x[i] = filler;
  }
  return x;
}

inline Vec max_of(Vec a, Vec b) {
  return a > b ? a : b;
}

/// The sum (maximum) of all lanes, halves folded onto each other.
inline float sum_lanes(Vec v) {
  float lane[kLanes];
  __builtin_memcpy(lane, &v, sizeof(v));
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) {
      lane[i] += lane[i + width];
    }
  }
  return lane[0];
}
inline float max_lanes(Vec v) {
  float largest = v[0];
  for (int64_t i = 1; i < kLanes; ++i) {
    largest = v[i] > largest ? v[i] : largest;
  }
  return largest;
}

/// e^x within 2 units in the last place: 0 below -87.3, infinity above 88.3; NaN stays NaN.
/// x = n ln 2 + r with |r| <= ln(2) / 2; e^r by Cephes' polynomial, 2^n put together from its bits.
inline Vec exp_of(Vec x) {
  constexpr float kLowest = -87.33654F;
  constexpr float kHighest = 88.37626F;
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23: adding it leaves round(x) in the low bits
  const Vec inside = x < kLowest ? broadcast(kLowest) : (x > kHighest ? broadcast(kHighest) : x);
  const Vec shifted = inside * 1.44269504088896341F + kRounder;
  const Vec n = shifted - kRounder;
  const Vec r = inside - n * 0.693359375F - n * -2.12194440e-4F;
  Vec p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  IntVec bits;
  __builtin_memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits << 23) + (127 << 23);
  Vec power;
  __builtin_memcpy(&power, &bits, sizeof(power));
  const Vec result = p * power;
  return x < kLowest ? Vec{} : (x > kHighest ? broadcast(__builtin_inff()) : result);
}

inline Vec sigmoid_of(Vec x) {
  return 1.0F / (1.0F + exp_of(-x));
}

}  // namespace
}  // namespace enodia
