#include "collectives/reduce.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "common/check.h"

namespace enodia {
namespace {

/// How elements lie in memory (Stored) and in what they are combined (Wide).
template <typename T>
struct Native {
  using Stored = T;
  using Wide = T;
  static T widen(T value) { return value; }
  static T narrow(T value) { return value; }
};

struct BFloat16 {
  using Stored = uint16_t;
  using Wide = float;
  static float widen(uint16_t bits) { return float_from_bfloat16(bits); }
  static uint16_t narrow(float value) { return bfloat16_from_float(value); }
};

template <ReduceOp op, typename T>
T combine(T a, T b) {
  if constexpr (op == ReduceOp::kSum) {
    if constexpr (std::is_integral_v<T>) {
      using Unsigned = std::make_unsigned_t<T>;  // overflow of signed integers is undefined
      return static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
    } else {
      return a + b;
    }
  } else {
    if constexpr (std::is_floating_point_v<T>) {
      if (a != a || b != b) {
        return a != a ? a : b;
      }
    }
    return (op == ReduceOp::kMin ? b < a : a < b) ? b : a;
  }
}

template <typename Element, ReduceOp op>
void reduce_elements(std::span<const std::byte* const> contributions,
                     std::byte* out,
                     int64_t count) {
  using Stored = typename Element::Stored;
  constexpr int64_t kBlock = 1024;  // stays in the first-level cache over all contributions
  std::array<typename Element::Wide, kBlock> sum;
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t length = std::min(kBlock, count - first);
    const auto* head = reinterpret_cast<const Stored*>(contributions[0]) + first;
    for (int64_t i = 0; i < length; ++i) {
      sum[i] = Element::widen(head[i]);
    }
    for (const std::byte* contribution : contributions.subspan(1)) {
      const auto* next = reinterpret_cast<const Stored*>(contribution) + first;
      for (int64_t i = 0; i < length; ++i) {
        sum[i] = combine<op>(sum[i], Element::widen(next[i]));
      }
    }
    auto* target = reinterpret_cast<Stored*>(out) + first;
    for (int64_t i = 0; i < length; ++i) {
      target[i] = Element::narrow(sum[i]);
    }
  }
}

template <typename Element>
void reduce_with(std::span<const std::byte* const> contributions,
                 std::byte* out,
                 int64_t count,
                 ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return reduce_elements<Element, ReduceOp::kSum>(contributions, out, count);
    case ReduceOp::kMin:
      return reduce_elements<Element, ReduceOp::kMin>(contributions, out, count);
    case ReduceOp::kMax:
      return reduce_elements<Element, ReduceOp::kMax>(contributions, out, count);
  }
}

}  // namespace

void reduce_in_order(std::span<const std::byte* const> contributions,
                     std::byte* out,
                     int64_t count,
                     DType dtype,
                     ReduceOp op) {
  ENODIA_CHECK(!contributions.empty());
  switch (dtype) {
    case DType::kUInt8:
      return reduce_with<Native<uint8_t>>(contributions, out, count, op);
    case DType::kInt32:
      return reduce_with<Native<int32_t>>(contributions, out, count, op);
    case DType::kInt64:
      return reduce_with<Native<int64_t>>(contributions, out, count, op);
    case DType::kFloat32:
      return reduce_with<Native<float>>(contributions, out, count, op);
    case DType::kFloat64:
      return reduce_with<Native<double>>(contributions, out, count, op);
    case DType::kBFloat16:
      return reduce_with<BFloat16>(contributions, out, count, op);
  }
}

}  // namespace enodia
