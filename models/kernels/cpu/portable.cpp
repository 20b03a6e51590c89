#include "models/kernels/cpu/table.h"

namespace enodia {

extern const CpuKernels kPortableKernels;
constexpr CpuKernels kPortableKernels = make_table("portable", /*gemm_beats_aten=*/false);

}  // namespace enodia
