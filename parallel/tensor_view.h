#pragma once

#include <ATen/core/Tensor.h>

#include "collectives/buffer.h"
#include "common/dtype.h"

namespace enodia {

/// The only bridge between tensors and communicators: views a contiguous tensor and keeps its
/// storage alive. Throws UsageError when the tensor is not contiguous.
Buffer view(const at::Tensor& tensor);

at::ScalarType scalar_type(DType dtype);
DType dtype_of(at::ScalarType type);

}  // namespace enodia
