#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "collectives/reduce_op.h"
#include "common/dtype.h"

namespace enodia {

/// out[i] = contributions[0][i] op contributions[1][i] op ..., from left to right, for `count`
/// elements of `dtype` in host memory. float32, float64 and integers are combined in their own
/// type (integers wrap around), bfloat16 in float32 with one rounding at the end. Minimum and
/// maximum of anything with a NaN are NaN. `out` may be one of the contributions. Local.
void reduce_in_order(std::span<const std::byte* const> contributions,
                     std::byte* out,
                     int64_t count,
                     DType dtype,
                     ReduceOp op);

}  // namespace enodia
