#include "tests/device_double/device_double.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace enodia {
namespace {

TEST(DeviceDouble, ComputesAsTheCpuDoes) {
  at::manual_seed(1);
  const at::Tensor a = at::randn({5, 7});
  const at::Tensor b = at::randn({7, 3});
  const auto there = [](const at::Tensor& x) { return x.to(DeviceDouble::device()); };
  const at::Tensor c = at::mm(there(a), there(b)).softmax(1).narrow(0, 1, 3).t().contiguous();
  EXPECT_TRUE(c.cpu().equal(at::mm(a, b).softmax(1).narrow(0, 1, 3).t().contiguous()));
  at::Tensor d = at::zeros({4, 3}, there(a).options());
  d.index_add_(0, there(at::tensor({2, 0, 2}, at::kLong)), c.t());
  d.add_(1.5).mul_(2);
  at::Tensor e = at::zeros({4, 3});
  e.index_add_(0, at::tensor({2, 0, 2}, at::kLong), c.t().cpu());
  e.add_(1.5).mul_(2);
  EXPECT_TRUE(d.cpu().equal(e));
  EXPECT_TRUE(at::cat({d, d}, 1).cpu().equal(at::cat({e, e}, 1)));
  EXPECT_EQ(
      std::get<1>(at::sort(d, true, 1, true)).cpu().equal(std::get<1>(at::sort(e, true, 1, true))),
      true);
}

}  // namespace
}  // namespace enodia
