#include "models/kernels/cpu/table.h"

namespace enodia {

extern const CpuKernels kAvx512Kernels;
constexpr CpuKernels kAvx512Kernels = make_table("avx512", /*gemm_beats_aten=*/true);

}  // namespace enodia
