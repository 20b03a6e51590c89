#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <c10/core/Device.h>

#include "collectives/reduce_op.h"
#include "common/dtype.h"

namespace enodia {

/// reduce_in_order (collectives/reduce.h) with LibTorch's kernels, on memory of `place` and on the
/// stream that is the calling thread's current one there. The bits are the same. Does not block the
/// host.
void reduce_tensors(c10::Device place,
                    std::span<const std::byte* const> contributions,
                    std::byte* out,
                    int64_t count,
                    DType dtype,
                    ReduceOp op);

}  // namespace enodia
