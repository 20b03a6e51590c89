#include "parallel/tensor_view.h"

#include "common/check.h"

namespace enodia {

Buffer view(const at::Tensor& tensor) {
  ENODIA_CHECK(tensor.is_contiguous(), "only contiguous tensors can be sent");
  return Buffer{tensor.data_ptr(),
                tensor.numel(),
                dtype_of(tensor.scalar_type()),
                tensor.is_cpu() ? -1 : tensor.get_device(),
                std::make_shared<at::Tensor>(tensor)};
}

at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kUInt8:
      return at::kByte;
    case DType::kInt32:
      return at::kInt;
    case DType::kInt64:
      return at::kLong;
    case DType::kFloat32:
      return at::kFloat;
    case DType::kFloat64:
      return at::kDouble;
    case DType::kBFloat16:
      return at::kBFloat16;
  }
  throw UsageError("unknown element type");
}

DType dtype_of(at::ScalarType type) {
  for (const DType dtype : {DType::kUInt8,
                            DType::kInt32,
                            DType::kInt64,
                            DType::kFloat32,
                            DType::kFloat64,
                            DType::kBFloat16}) {
    if (scalar_type(dtype) == type) {
      return dtype;
    }
  }
  throw UsageError(std::string("tensors of type ") + at::toString(type) + " cannot be sent");
}

}  // namespace enodia
