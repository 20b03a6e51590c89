#pragma once

#include <cstdint>

namespace enodia {

/// C [m, n] = A B, or += with `accumulate`. A is [m, k], stored as [k, m] when transposed; B is
/// [k, n], stored as [n, k] when transposed. Strides are those of stored rows.
struct GemmProblem {
  int64_t m, n, k;
  const float* a;
  int64_t a_stride;
  bool a_transposed;
  const float* b;
  int64_t b_stride;
  bool b_transposed;
  float* c;
  int64_t c_stride;
  bool accumulate;
};

/// Blocks of a product that are packed at once; all are multiples of every tile.
constexpr int64_t kGemmBlockM = 240;
constexpr int64_t kGemmBlockN = 960;
constexpr int64_t kGemmBlockK = 512;

/// Floats of workspace for a product.
constexpr int64_t gemm_workspace(int64_t m, int64_t n, int64_t k) {
  const auto padded = [](int64_t size, int64_t block) {
    return size < block ? (size + 15) / 16 * 16 : block;
  };
  return (padded(m, kGemmBlockM) + padded(n, kGemmBlockN)) * (k < kGemmBlockK ? k : kGemmBlockK);
}

/// Causal attention of the `group` query heads that share one key/value head, within one segment of
/// `length` tokens. Pointers are at the segment's first token and the group's first head; heads
/// follow each other in a row.
struct AttentionProblem {
  int64_t length, group, head_dim;
  const float *q, *k, *v;
  int64_t qkv_stride;  ///< between tokens, also of grad_q, grad_k and grad_v
  float* out;
  int64_t out_stride;  ///< also of grad_out
  float* logsumexp;
  int64_t logsumexp_stride;
};
struct AttentionGradients {
  const float* grad_out;
  float *grad_q, *grad_k, *grad_v;  ///< overwritten
};

/// Floats of workspace for attention over segments of up to `length` tokens, either direction.
constexpr int64_t attention_workspace(int64_t length, int64_t head_dim) {
  const int64_t tokens = (length + 47) / 48 * 48;
  const int64_t dim = (head_dim + 15) / 16 * 16;
  return 3 * tokens * dim + 2 * tokens * 48 + 4 * 48 * dim;
}

/// The float32 kernels of one instruction set: raw pointers, rows contiguous unless a stride is
/// given, any alignment, any count including zero. They run on the calling thread, allocate
/// nothing and keep no state; callers split rows over threads. The sums of one row have a fixed
/// order.
struct CpuKernels {
  const char* name;
  bool gemm_beats_aten;  ///< measured by tests/bench/bench_kernels

  void (*rms_norm)(
      const float* x, const float* w, float* y, float* rstd, int64_t rows, int64_t dim, float eps);
  /// Overwrites grad_x, accumulates into grad_w in order of rows.
  void (*rms_norm_backward)(const float* grad_y,
                            const float* x,
                            const float* w,
                            const float* rstd,
                            float* grad_x,
                            float* grad_w,
                            int64_t rows,
                            int64_t dim);
  /// row_weight may be null.
  void (*swiglu)(
      const float* gate_up, const float* row_weight, float* act, int64_t rows, int64_t hidden);
  /// row_weight and grad_row_weight are both null or both not.
  void (*swiglu_backward)(const float* grad_act,
                          const float* gate_up,
                          const float* row_weight,
                          float* grad_gate_up,
                          float* grad_row_weight,
                          int64_t rows,
                          int64_t hidden);
  /// Turns `heads` heads of 2 * half elements in every row by the angles of cos and sin [rows,
  /// half]. `direction` is 1 or -1.
  void (*rotate)(float* x,
                 int64_t row_stride,
                 const float* cos,
                 const float* sin,
                 int64_t rows,
                 int64_t heads,
                 int64_t half,
                 float direction);
  /// The summed loss of the rows with a label >= 0; see ops::cross_entropy for `scale`.
  double (*cross_entropy)(
      float* logits, const int64_t* labels, int64_t rows, int64_t vocab, float scale);
  /// out[r] = sum over k of x[index[r * per_row + k]]; negative indices add nothing.
  void (*gather_sum)(
      const float* x, const int64_t* index, float* out, int64_t rows, int64_t per_row, int64_t dim);
  /// w[index[r]] += x[r] in order of r, on the columns [begin, end) of dim.
  void (*scatter_add)(float* w,
                      const int64_t* index,
                      const float* x,
                      int64_t rows,
                      int64_t dim,
                      int64_t begin,
                      int64_t end);
  /// out[d] += sum over rows of x[r, d], on the columns [begin, end) of dim.
  void (*column_sums)(
      const float* x, float* out, int64_t rows, int64_t dim, int64_t begin, int64_t end);

  /// `workspace` holds gemm_workspace floats.
  void (*gemm)(const GemmProblem& problem, float* workspace);

  /// `workspace` holds attention_workspace floats. The backward reads out and logsumexp of the
  /// forward and computes the probabilities again.
  void (*attention)(const AttentionProblem& problem, float* workspace);
  void (*attention_backward)(const AttentionProblem& problem,
                             const AttentionGradients& gradients,
                             float* workspace);
};

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

/// The kernels of an instruction set, or null where this machine or this build lacks it.
const CpuKernels* cpu_kernels_of(InstructionSet set);

/// The fastest kernels that this machine runs.
const CpuKernels& cpu_kernels();

}  // namespace enodia
