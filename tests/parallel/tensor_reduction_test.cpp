#include "parallel/tensor_reduction.h"

#include <cmath>
#include <vector>

#include <ATen/ops/allclose.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "collectives/reduce.h"
#include "parallel/tensor_view.h"
#include "tests/device_double/device_double.h"

namespace enodia {
namespace {

std::vector<at::Tensor> contributions_of(DType dtype, int64_t count) {
  std::vector<at::Tensor> contributions;
  for (int i = 0; i < 3; ++i) {
    const at::ScalarType type = scalar_type(dtype);
    contributions.push_back(at::isIntegralType(type, false)
                                ? at::randint(0, 80, {count}, type)
                                : at::randn({count}, at::kDouble).mul(100).to(type));
  }
  if (dtype == DType::kFloat32) {
    contributions[1].narrow(0, 2, 1).fill_(NAN);
  }
  return contributions;
}

TEST(TensorReduction, GivesTheBitsOfTheHost) {
  DoubleQueue queue;
  const CurrentQueue current(queue);
  for (const DType dtype : {DType::kUInt8,
                            DType::kInt32,
                            DType::kInt64,
                            DType::kFloat32,
                            DType::kFloat64,
                            DType::kBFloat16}) {
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax}) {
      const std::vector<at::Tensor> here = contributions_of(dtype, 37);
      std::vector<at::Tensor> there;
      std::vector<const std::byte*> host;
      std::vector<const std::byte*> device;
      for (const at::Tensor& contribution : here) {
        there.push_back(contribution.to(DeviceDouble::device()));
        host.push_back(static_cast<const std::byte*>(contribution.const_data_ptr()));
        device.push_back(static_cast<const std::byte*>(there.back().const_data_ptr()));
      }
      const at::Tensor expected = at::empty_like(here[0]);
      reduce_in_order(host, static_cast<std::byte*>(expected.data_ptr()), 37, dtype, op);
      // In place, as a rank does with its own part.
      reduce_tensors(DeviceDouble::device(),
                     device,
                     static_cast<std::byte*>(there[2].data_ptr()),
                     37,
                     dtype,
                     op);
      EXPECT_TRUE(at::allclose(there[2].cpu(), expected, 0, 0, /*equal_nan=*/true))
          << name_of(dtype) << " " << name_of(op);
    }
  }
}

}  // namespace
}  // namespace enodia
