#pragma once

#include "models/ops.h"

/// Mixed precision on the CPU: what lies in bfloat16 is computed in float32 and rounded once, where
/// a function returns or writes it. The functions are those of ops.h.
namespace enodia::ops::mixed {

/// Whether any of these is bfloat16; undefined ones are not.
template <typename... Tensors>
bool is_mixed(const Tensors&... operands) {
  return ((operands.defined() && operands.scalar_type() == at::kBFloat16) || ...);
}

RmsNormResult rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps);
at::Tensor rms_norm_backward(const at::Tensor& grad_y_TD,
                             const at::Tensor& x_TD,
                             const at::Tensor& w_D,
                             const at::Tensor& rstd_T,
                             at::Tensor& grad_w_D);
at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias);
void linear_into(at::Tensor y, const at::Tensor& x, const at::Tensor& w);
void linear_backward_input_into(at::Tensor grad_x, const at::Tensor& grad_y, const at::Tensor& w);
at::Tensor swiglu(const at::Tensor& gate_up, const at::Tensor& row_weight);
SwigluGradients swiglu_backward(const at::Tensor& grad_act,
                                const at::Tensor& gate_up,
                                const at::Tensor& row_weight);
void rotate(at::Tensor x, const RotaryTable& table, int64_t heads, bool inverse);
AttentionResult attention(const at::Tensor& qkv,
                          const SequenceLayout& layout,
                          int64_t heads,
                          int64_t kv_heads,
                          int64_t head_dim);
at::Tensor attention_backward(const at::Tensor& grad_out,
                              const at::Tensor& qkv,
                              const AttentionResult& forward,
                              const SequenceLayout& layout,
                              int64_t heads,
                              int64_t kv_heads,
                              int64_t head_dim);

}  // namespace enodia::ops::mixed
