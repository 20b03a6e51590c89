#include "models/kernels/cpu/table.h"

namespace enodia {

extern const CpuKernels kAvx2Kernels;
constexpr CpuKernels kAvx2Kernels = make_table("avx2", /*gemm_beats_aten=*/false);

}  // namespace enodia
