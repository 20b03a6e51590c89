#include "parallel/slot_pool.h"

#include <limits>
#include <utility>

#include <ATen/ops/empty.h>

namespace enodia {

void SlotPool::reserve(int64_t slots) {
  const MemoryScope scope(MemoryKind::kReplicas);
  for (; size_ < slots; ++size_) {
    free_.push_back(at::empty({elements_}, options_));
  }
}

at::Tensor SlotPool::take() {
  if (free_.empty()) {
    reserve(size_ + 1);
  }
  at::Tensor slot = std::move(free_.back());
  free_.pop_back();
  return slot;
}

void SlotPool::give_back(at::Tensor slot) {
#ifndef NDEBUG
  slot.fill_(std::numeric_limits<double>::quiet_NaN());  // whoever still reads it shall notice
#endif
  free_.push_back(std::move(slot));
}

}  // namespace enodia
