#pragma once

#include "models/ops.h"

/// The functions of models/ops.h in plain ATen, for any floating type: the path of every tensor
/// that is not contiguous float32 on the CPU, and what the kernels are tested against.
namespace enodia::ops::reference {

RmsNormResult rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps);
at::Tensor rms_norm_backward(const at::Tensor& grad_y_TD,
                             const at::Tensor& x_TD,
                             const at::Tensor& w_D,
                             const at::Tensor& rstd_T,
                             at::Tensor& grad_w_D);

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias);
at::Tensor linear_backward_input(const at::Tensor& grad_y, const at::Tensor& w);
void linear_into(at::Tensor y, const at::Tensor& x, const at::Tensor& w);
void linear_backward_input_into(at::Tensor grad_x, const at::Tensor& grad_y, const at::Tensor& w);
void linear_backward_weight(const at::Tensor& grad_y,
                            const at::Tensor& x,
                            at::Tensor grad_w,
                            at::Tensor grad_bias);

at::Tensor swiglu(const at::Tensor& gate_up, const at::Tensor& row_weight);
SwigluGradients swiglu_backward(const at::Tensor& grad_act,
                                const at::Tensor& gate_up,
                                const at::Tensor& row_weight);

RotaryTable rotary_table(const SequenceLayout& layout,
                         const Rotary& rotary,
                         const at::TensorOptions& options);
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

at::Tensor cross_entropy(at::Tensor logits, const at::Tensor& labels, double scale);

at::Tensor gather_rows(const at::Tensor& x, const at::Tensor& index);
at::Tensor gather_sum(const at::Tensor& x, const at::Tensor& index_TK);
void scatter_add_rows(at::Tensor w, const at::Tensor& index_T, const at::Tensor& x);

}  // namespace enodia::ops::reference
