#pragma once

// Makes the table of the instruction set that the including source is compiled for.

#include "models/kernels/cpu/attention.h"
#include "models/kernels/cpu/cpu_kernels.h"
#include "models/kernels/cpu/elementwise.h"
#include "models/kernels/cpu/gemm.h"

namespace enodia {
namespace {

constexpr CpuKernels make_table(const char* name, bool gemm_beats_aten) {
  return {.name = name,
          .gemm_beats_aten = gemm_beats_aten,
          .rms_norm = rms_norm,
          .rms_norm_backward = rms_norm_backward,
          .swiglu = swiglu,
          .swiglu_backward = swiglu_backward,
          .rotate = rotate,
          .cross_entropy = cross_entropy,
          .gather_sum = gather_sum,
          .scatter_add = scatter_add,
          .column_sums = column_sums,
          .gemm = gemm,
          .attention = attention,
          .attention_backward = attention_backward};
}

}  // namespace
}  // namespace enodia
