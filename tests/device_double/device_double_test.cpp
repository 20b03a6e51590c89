#include "tests/device_double/device_double.h"

#include <csignal>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/queue_event.h"

namespace enodia {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

at::Tensor on_device(const at::Tensor& x) {
  return x.to(DeviceDouble::device());
}

class DeviceDoubleTest : public ::testing::Test {
 protected:
  ~DeviceDoubleTest() override { DeviceDouble::instance().take_races(); }

  at::Tensor x_ = at::tensor({1.0F, 2.0F, 3.0F, 4.0F});
  std::vector<float> host_ = std::vector<float>(4);  // outlives the queues, which may write it late
  DoubleQueue queue_, other_;
  CurrentQueue current_{queue_};
};

TEST_F(DeviceDoubleTest, ComputesWhatTheCpuComputes) {
  const at::Tensor a = at::randn({5, 7});
  const at::Tensor b = at::randn({7, 3});
  const auto views = [](const at::Tensor& x) {
    return x.softmax(1).narrow(1, 0, 2).t().reshape({2, 5}).select(0, 1);
  };
  EXPECT_TRUE(views(at::mm(on_device(a), on_device(b))).cpu().equal(views(at::mm(a, b))));
  const auto change = [](at::Tensor x, const at::Tensor& rows, const at::Tensor& y) {
    x.index_add_(0, rows, y).add_(1.5).narrow(0, 1, 2).mul_(2);
    return at::cat({x, std::get<0>(at::sort(x, 1))}, 1);
  };
  const at::Tensor rows = at::tensor({2, 0, 2, 1, 3}, at::kLong);
  const at::Tensor y = at::randn({5, 3});
  EXPECT_TRUE(change(on_device(at::zeros({4, 3})), on_device(rows), on_device(y))
                  .cpu()
                  .equal(change(at::zeros({4, 3}), rows, y)));
}

TEST_F(DeviceDoubleTest, TheHostCannotTouchItsMemory) {
  const at::Tensor there = on_device(x_);
  EXPECT_EXIT(static_cast<void>(*static_cast<volatile const float*>(there.const_data_ptr())),
              ::testing::KilledBySignal(SIGSEGV),
              "");
  EXPECT_ANY_THROW(static_cast<void>(there.add(x_)));
  EXPECT_ANY_THROW(static_cast<void>(at::cat({there, x_})));
}

TEST_F(DeviceDoubleTest, CountsCopies) {
  const DeviceDouble::Copies before = DeviceDouble::copies();
  const at::Tensor there = on_device(x_);
  const at::Tensor same = there.clone();
  EXPECT_EQ(same.sum().item<float>(), 10);
  EXPECT_TRUE(same.cpu().equal(x_));
  EXPECT_EQ(same.narrow(0, 0, 0).cpu().numel(), 0);
  EXPECT_EQ(DeviceDouble::copies().from_host - before.from_host, 1);
  EXPECT_EQ(DeviceDouble::copies().to_host - before.to_host, 2);
}

TEST_F(DeviceDoubleTest, ACopyIsDoneWhenItsQueueGoesOnOrItsEventIsWaitedFor) {
  const at::Tensor from = on_device(x_);
  const at::Tensor to = on_device(at::zeros({4}));
  QueueEvent(queue_.queue()).wait(other_.queue());
  other_.queue().copy(to.data_ptr(), from.data_ptr(), from.nbytes());
  EXPECT_TRUE(to.isnan().all().item<bool>()) << "poisoned";
  EXPECT_THAT(DeviceDouble::instance().take_races(), SizeIs(1));

  QueueEvent(queue_.queue()).wait(other_.queue());
  other_.queue().copy(to.data_ptr(), from.data_ptr(), from.nbytes());
  QueueEvent(other_.queue()).wait(queue_.queue());
  EXPECT_TRUE(to.cpu().equal(x_));
  EXPECT_THAT(DeviceDouble::instance().take_races(), IsEmpty());
}

TEST_F(DeviceDoubleTest, FindsUsesThatNothingPutsInOrder) {
  const at::Tensor from = on_device(x_);
  other_.queue().copy(host_.data(), from.data_ptr(), from.nbytes());
  EXPECT_THAT(DeviceDouble::instance().take_races(),
              Contains(HasSubstr("a copy reads memory without waiting for copy_")));
  {
    const at::Tensor gone = on_device(x_);
    QueueEvent(queue_.queue()).wait(other_.queue());
    other_.queue().copy(host_.data(), gone.data_ptr(), gone.nbytes());
  }
  EXPECT_THAT(DeviceDouble::instance().take_races(),
              Contains(HasSubstr("giving back a tensor writes memory without waiting for a copy")));
}

TEST_F(DeviceDoubleTest, MemoryComesAndGoesAsNotANumber) {
  const void* place = nullptr;
  {
    const at::Tensor gone = on_device(x_);
    place = gone.const_data_ptr();
  }
  const at::Tensor made = at::empty({4}, x_.options().device(DeviceDouble::device()));
  EXPECT_EQ(made.const_data_ptr(), place);
  EXPECT_TRUE(made.isnan().all().item<bool>());
}

}  // namespace
}  // namespace enodia
