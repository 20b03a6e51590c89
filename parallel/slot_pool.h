#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/memory_ledger.h"

namespace enodia {

/// Slots for chunks of experts that come and go, shared by all layers: as many as were ever out at
/// once, kept for the next. On a device whoever takes a slot works on the queue of those before.
class SlotPool {
 public:
  SlotPool(int64_t elements, at::ScalarType dtype, c10::Device device)
      : elements_(elements),
        options_(at::TensorOptions().dtype(dtype).device(device)) {}
  /// Makes slots until there are so many, out or not.
  void reserve(int64_t slots);
  /// [elements], with whatever was left in it.
  at::Tensor take();
  void give_back(at::Tensor slot);
  /// All that there are, out or not.
  int64_t size() const { return size_; }

 private:
  int64_t elements_;
  at::TensorOptions options_;
  std::vector<at::Tensor> free_;
  int64_t size_ = 0;
};

}  // namespace enodia
