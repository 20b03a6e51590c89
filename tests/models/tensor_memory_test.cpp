#include "models/memory/tensor_memory.h"

#include <cstdint>
#include <thread>

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

namespace enodia {
namespace {

// The first test, because the allocator of a process is replaced once.
TEST(TensorMemory, LargeTensorsShareHugePagesAndSmallOnesAndOldOnesLiveOn) {
  EXPECT_EQ(tensor_memory(), nullptr);
  at::Tensor before = at::ones({1000, 1000});
  keep_tensors_in_block_pool();

  at::Tensor large = at::ones({1000, 1000});
  const void* address = large.data_ptr();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(address) % 4096, 0U);
  large = at::Tensor();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(at::ones({1000, 1000}).data_ptr(), address) << "not the memory just released";
  }

  const at::Tensor small = at::ones({3}), none = at::ones({0});
  const at::Tensor made_here = at::ones({300, 300});
  const double clone_sum = made_here.clone().sum().item<double>();
  EXPECT_EQ(before.sum().item<double>() + small.sum().item<double>(), 1e6 + 3);
  EXPECT_EQ(clone_sum, 9e4);
  EXPECT_EQ(none.numel(), 0);
  before = at::Tensor();

  at::Tensor handed_over = at::ones({500, 500});
  std::thread([tensor = std::move(handed_over)]() mutable { tensor = at::Tensor(); }).join();
}

struct Change {
  MemoryUse before = tensor_memory()->use();
  int64_t of(MemoryKind kind) const {
    const auto index = static_cast<size_t>(kind);
    return tensor_memory()->use().current[index] - before.current[index];
  }
  int64_t total() const { return tensor_memory()->use().total - before.total; }
};

TEST(TensorMemory, EveryTensorCountsItsBytesUnderTheKindItWasMadeAs) {
  const Change change;
  at::Tensor small, large, nothing;
  {
    const MemoryScope scope(MemoryKind::kParameters);
    small = at::ones({3});
    large = at::ones({1000, 1000}, at::kDouble);
    nothing = at::ones({0});
  }
  at::Tensor activation = at::ones({77}, at::kLong);
  EXPECT_EQ(change.of(MemoryKind::kParameters), 3 * 4 + 8'000'000);
  EXPECT_EQ(change.of(MemoryKind::kActivations), 77 * 8);
  EXPECT_EQ(change.total(), 3 * 4 + 8'000'000 + 77 * 8);

  const at::Tensor view = large.narrow(0, 0, 10);
  large = at::Tensor();
  EXPECT_EQ(change.of(MemoryKind::kParameters), 3 * 4 + 8'000'000) << "a view keeps the memory";
}

TEST(TensorMemory, WhatIsFreedElsewhereLeavesTheKindItCameFrom) {
  const Change change;
  at::Tensor gradient;
  {
    const MemoryScope scope(MemoryKind::kGradients);
    gradient = at::ones({100'000});
  }
  EXPECT_EQ(change.of(MemoryKind::kGradients), 400'000);
  std::thread([moved = std::move(gradient)]() mutable {
    const MemoryScope scope(MemoryKind::kOptimizer);
    moved = at::Tensor();
  }).join();
  for (size_t kind = 0; kind < kNumMemoryKinds; ++kind) {
    EXPECT_EQ(change.of(static_cast<MemoryKind>(kind)), 0)
        << name_of(static_cast<MemoryKind>(kind));
  }
}

TEST(TensorMemory, ThePeakIsSeenThoughItHasGone) {
  tensor_memory()->restart_peaks();
  const MemoryUse before = tensor_memory()->use();
  at::empty({250'000});
  const MemoryUse after = tensor_memory()->use();
  EXPECT_EQ(after.peak_total - before.total, 1'000'000);
  EXPECT_EQ(after.total, before.total);
}

}  // namespace
}  // namespace enodia
