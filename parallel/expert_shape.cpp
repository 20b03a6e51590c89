#include "parallel/expert_shape.h"

#include <algorithm>

namespace enodia {
namespace {

int64_t padded(int64_t elements) {
  constexpr int64_t kAlignment = 64;  // 256 bytes of float32
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

int64_t ExpertShape::chunk_elements() const {
  return padded(gate_up_elements() + down_elements());
}

Slice ExpertShape::stripe(int index) const {
  const int64_t all = gate_up_elements() + down_elements();
  const auto begin = [&](int64_t i) {  // of stripe i: the row that the even cut goes through
    const int64_t even = all * i / stripes;
    const int64_t matrix = even < gate_up_elements() ? 0 : gate_up_elements();
    const int64_t row = matrix == 0 ? hidden_size : intermediate_size;
    return row == 0 ? matrix : matrix + (even - matrix) / row * row;
  };
  return {begin(index), begin(index + 1) - begin(index)};
}

int64_t ExpertShape::stripe_elements() const {
  int64_t largest = 0;
  for (int index = 0; index < stripes; ++index) {
    largest = std::max(largest, stripe(index).count);
  }
  return padded(largest);
}

}  // namespace enodia
