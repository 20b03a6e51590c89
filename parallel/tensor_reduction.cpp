#include "parallel/tensor_reduction.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>

#include "common/check.h"
#include "parallel/precision.h"
#include "parallel/tensor_view.h"

namespace enodia {
namespace {

at::Tensor combine(const at::Tensor& a, const at::Tensor& b, ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return a.add(b);
    case ReduceOp::kMin:
      return at::minimum(a, b);
    case ReduceOp::kMax:
      return at::maximum(a, b);
  }
  throw UsageError("an operation of a reduction that does not exist");
}

}  // namespace

void reduce_tensors(c10::Device place,
                    std::span<const std::byte* const> contributions,
                    std::byte* out,
                    int64_t count,
                    DType dtype,
                    ReduceOp op) {
  ENODIA_CHECK(!contributions.empty());
  const auto view = [&](const std::byte* memory) {
    return at::for_blob(const_cast<std::byte*>(memory), {count})
        .options(at::TensorOptions().dtype(scalar_type(dtype)).device(place))
        .target_device(place)
        .make_tensor();
  };
  const at::ScalarType wide = dtype == DType::kBFloat16 ? at::kFloat : scalar_type(dtype);
  at::Tensor result = view(contributions[0]).to(wide);
  for (const std::byte* contribution : contributions.subspan(1)) {
    result = combine(result, view(contribution).to(wide), op);
  }
  view(out).copy_(result);
}

}  // namespace enodia
