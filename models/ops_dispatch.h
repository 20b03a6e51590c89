#pragma once

// Private to the sources of models/ops.h: which tensors the kernels take, and how rows are shared
// among threads.

#include <algorithm>
#include <cstdint>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include "common/check.h"
#include "models/kernels/cpu/cpu_kernels.h"

namespace enodia::ops::detail {

/// Fewer elements are not worth waking a thread for.
inline constexpr int64_t kGrainElements = 32768;
/// Of sums over rows: fixed, so that the number of threads changes no bit.
inline constexpr int64_t kChunkRows = 128;

/// Whether any of these is bfloat16, which is computed with in float32 and rounded once, where a
/// function returns or writes it; undefined ones are not.
template <typename... Tensors>
bool is_mixed(const Tensors&... operands) {
  return ((operands.defined() && operands.scalar_type() == at::kBFloat16) || ...);
}
inline at::Tensor rounded(const at::Tensor& x) {
  return x.to(at::kBFloat16);
}

inline bool is_kernel_operand(const at::Tensor& x) {
  return !x.defined() ||
         (x.scalar_type() == at::kFloat && x.device().is_cpu() && x.is_contiguous());
}

/// Whether x is a float32 matrix on the CPU whose rows are dense, whatever lies between them.
inline bool has_kernel_rows(const at::Tensor& x) {
  return x.dim() == 2 && x.scalar_type() == at::kFloat && x.device().is_cpu() &&
         (x.stride(1) == 1 || x.size(1) == 1) && x.stride(0) >= x.size(1);
}

/// Whether the float32 kernels take these operands; undefined ones are no obstacle.
template <typename... Tensors>
bool use_kernels(const Tensors&... operands) {
  return (is_kernel_operand(operands) && ...);
}

inline float* floats(const at::Tensor& x) {
  return x.defined() ? x.data_ptr<float>() : nullptr;
}
inline const int64_t* indices(const at::Tensor& x) {
  return x.const_data_ptr<int64_t>();
}

/// fn(first_row, rows) on ranges of rows, each row of `row_elements` elements.
template <typename Fn>
void for_row_ranges(int64_t rows, int64_t row_elements, Fn fn) {
  const int64_t grain = std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, row_elements));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) { fn(begin, end - begin); });
}

/// fn(begin, end) on ranges of columns, whole cache lines each, of a matrix of `rows` rows.
template <typename Fn>
void for_column_ranges(int64_t columns, int64_t rows, Fn fn) {
  constexpr int64_t kLine = 16;
  for_row_ranges((columns + kLine - 1) / kLine, rows * kLine, [&](int64_t line, int64_t lines) {
    fn(line * kLine, std::min(columns, (line + lines) * kLine));
  });
}

inline int64_t chunks_of(int64_t rows) {
  return (rows + kChunkRows - 1) / kChunkRows;
}

/// fn(chunk, first_row, rows) for every chunk of kChunkRows rows.
template <typename Fn>
void for_chunks(int64_t rows, Fn fn) {
  at::parallel_for(0, chunks_of(rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * kChunkRows;
      fn(chunk, first, std::min(kChunkRows, rows - first));
    }
  });
}

inline void check_indices(const at::Tensor& index,
                          int64_t lowest,
                          int64_t limit,
                          const char* what) {
  if (!index.device().is_cpu()) {
    return;  // whoever made them on the host has looked
  }
  ENODIA_CHECK(
      index.scalar_type() == at::kLong && index.is_contiguous(), what, " must be contiguous int64");
  const int64_t* values = indices(index);
  for (int64_t i = 0; i < index.numel(); ++i) {
    ENODIA_CHECK(values[i] >= lowest && values[i] < limit,
                 what,
                 " ",
                 values[i],
                 " at ",
                 i,
                 " must be at least ",
                 lowest,
                 " and below ",
                 limit);
  }
}

}  // namespace enodia::ops::detail
