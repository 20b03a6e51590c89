#include "models/memory/tensor_memory.h"

#include <cstdint>
#include <thread>

#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

namespace enodia {
namespace {

// One test, because the allocator of a process is replaced once.
TEST(TensorMemory, LargeTensorsShareHugePagesAndSmallOnesAndOldOnesLiveOn) {
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

}  // namespace
}  // namespace enodia
