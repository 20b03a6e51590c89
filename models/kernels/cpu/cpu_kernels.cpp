#include "models/kernels/cpu/cpu_kernels.h"

namespace enodia {

extern const CpuKernels kPortableKernels;
#if defined(__x86_64__)
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;
#endif

const CpuKernels* cpu_kernels_of(InstructionSet set) {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (set == InstructionSet::kAvx512) {
    return avx2 && __builtin_cpu_supports("avx512f") ? &kAvx512Kernels : nullptr;
  }
  if (set == InstructionSet::kAvx2) {
    return avx2 ? &kAvx2Kernels : nullptr;
  }
#endif
  return set == InstructionSet::kPortable ? &kPortableKernels : nullptr;
}

namespace {

const CpuKernels& fastest() {
  if (const CpuKernels* kernels = cpu_kernels_of(InstructionSet::kAvx512)) {
    return *kernels;
  }
  if (const CpuKernels* kernels = cpu_kernels_of(InstructionSet::kAvx2)) {
    return *kernels;
  }
  return kPortableKernels;
}

}  // namespace

const CpuKernels& cpu_kernels() {
  static const CpuKernels& kernels = fastest();
  return kernels;
}

}  // namespace enodia
