#pragma once

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

#include "models/rotary.h"
#include "models/sequence_layout.h"

/// The local mathematics of the decoder as explicit forwards and backwards on tensors: no autograd,
/// no communication, no state. float32 on the CPU runs the kernels of models/kernels/cpu, float64
/// the plain ATen twins (ops_reference.h), which the tests compare with.
///
/// Operands in bfloat16 are computed with in float32, and what has their type is rounded once, at
/// the end. Gradients of weights, weights of norms, row weights, rotary tables, rstd and logsumexp
/// are always in the wide type (parallel/precision.h).
///
/// Shapes: T tokens, D model dim, F hidden dim of a feed-forward, V vocabulary, H query heads,
/// G key/value heads, d head dim, K experts per token, R routed token copies. All tensors are
/// contiguous. "accumulates" means +=.
namespace enodia::ops {

/// x in the wide type: float32 for bfloat16, else x itself.
at::Tensor wide(const at::Tensor& x);

/// y_TD = w_D * x / sqrt(mean(x^2) + eps); returns (y, rstd_T).
struct RmsNormResult {
  at::Tensor y, rstd;
};
RmsNormResult rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps);
/// Accumulates into grad_w_D; returns the gradient of x.
at::Tensor rms_norm_backward(const at::Tensor& grad_y_TD,
                             const at::Tensor& x_TD,
                             const at::Tensor& w_D,
                             const at::Tensor& rstd_T,
                             at::Tensor& grad_w_D);

/// y = x W^T (+ bias). W is [out, in]; bias may be undefined.
at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias = {});
/// grad_x = grad_y W.
at::Tensor linear_backward_input(const at::Tensor& grad_y, const at::Tensor& w);
/// The same into rows that exist already, such as those of one expert in a larger matrix.
void linear_into(at::Tensor y, const at::Tensor& x, const at::Tensor& w);
void linear_backward_input_into(at::Tensor grad_x, const at::Tensor& grad_y, const at::Tensor& w);
/// grad_w accumulates grad_y^T x; grad_bias, when defined, accumulates the column sums of grad_y.
void linear_backward_weight(const at::Tensor& grad_y,
                            const at::Tensor& x,
                            at::Tensor grad_w,
                            at::Tensor grad_bias = {});

/// grad_bias accumulates the column sums of grad_y.
void add_column_sums(at::Tensor grad_bias, const at::Tensor& grad_y);

/// act = silu(gate) * up [* row_weight]; gate_up is [R, 2F] with the gate first; row_weight is [R]
/// or undefined (ones).
at::Tensor swiglu(const at::Tensor& gate_up, const at::Tensor& row_weight = {});
struct SwigluGradients {
  at::Tensor gate_up, row_weight;  ///< row_weight is undefined when there was none
};
SwigluGradients swiglu_backward(const at::Tensor& grad_act,
                                const at::Tensor& gate_up,
                                const at::Tensor& row_weight = {});

/// magnitude * cos and sin of position * frequency, [T, pairs] each, for the layout's positions.
/// `dtype` is that of what is to be rotated.
struct RotaryTable {
  at::Tensor cos, sin;
  bool interleaved = false;
};
RotaryTable rotary_table(const SequenceLayout& layout,
                         const Rotary& rotary,
                         const at::TensorOptions& options);
/// Rotates in place the first 2 * pairs dims of each of `heads` heads of x [T, heads * d];
/// `inverse` turns back, which is the backward (the magnitude counts again). Interleaved pairs come
/// to lie as half-split ones, and `inverse` takes them so: q and k go the same way, and their
/// product does not mind. x may be a column slice of a wider row (stride(0) > heads * d).
void rotate(at::Tensor x, const RotaryTable& table, int64_t heads, bool inverse = false);

/// Causal attention inside each segment of `layout`. qkv is [T, (H + 2G) d]: all query heads, then
/// keys, then values; query head h reads key/value head h / (H/G). Returns out [T, H d] and the
/// logsumexp [T, H] that the backward needs.
struct AttentionResult {
  at::Tensor out, logsumexp;
};
AttentionResult attention(const at::Tensor& qkv,
                          const SequenceLayout& layout,
                          int64_t heads,
                          int64_t kv_heads,
                          int64_t head_dim);
/// The gradient of qkv, in qkv's shape.
at::Tensor attention_backward(const at::Tensor& grad_out,
                              const at::Tensor& qkv,
                              const AttentionResult& forward,
                              const SequenceLayout& layout,
                              int64_t heads,
                              int64_t kv_heads,
                              int64_t head_dim);

/// Summed cross-entropy in nats of logits [T, V], in the wide type, against labels [T] (int64, -1 =
/// none): a float64 number. When `scale` is not zero, logits are overwritten by scale *
/// d(sum)/d(logits) (zero rows where there is no label).
at::Tensor cross_entropy(at::Tensor logits, const at::Tensor& labels, double scale);

/// out[r] = x[index[r]]; index is int64 [R].
at::Tensor gather_rows(const at::Tensor& x, const at::Tensor& index);
/// w[index[t]] += x[t], in order of t.
void scatter_add_rows(at::Tensor w, const at::Tensor& index_T, const at::Tensor& x);

}  // namespace enodia::ops
