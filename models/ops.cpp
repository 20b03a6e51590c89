#include "models/ops.h"

#include "models/ops_reference.h"

namespace enodia::ops {

RmsNormResult rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps) {
  return reference::rms_norm(x_TD, w_D, eps);
}

at::Tensor rms_norm_backward(const at::Tensor& grad_y_TD,
                             const at::Tensor& x_TD,
                             const at::Tensor& w_D,
                             const at::Tensor& rstd_T,
                             at::Tensor& grad_w_D) {
  return reference::rms_norm_backward(grad_y_TD, x_TD, w_D, rstd_T, grad_w_D);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  return reference::linear(x, w, bias);
}

at::Tensor linear_backward_input(const at::Tensor& grad_y, const at::Tensor& w) {
  return reference::linear_backward_input(grad_y, w);
}

void linear_backward_weight(const at::Tensor& grad_y,
                            const at::Tensor& x,
                            at::Tensor grad_w,
                            at::Tensor grad_bias) {
  reference::linear_backward_weight(grad_y, x, grad_w, grad_bias);
}

at::Tensor swiglu(const at::Tensor& gate_up, const at::Tensor& row_weight) {
  return reference::swiglu(gate_up, row_weight);
}

SwigluGradients swiglu_backward(const at::Tensor& grad_act,
                                const at::Tensor& gate_up,
                                const at::Tensor& row_weight) {
  return reference::swiglu_backward(grad_act, gate_up, row_weight);
}

RotaryTable rotary_table(const SequenceLayout& layout,
                         int64_t head_dim,
                         double theta,
                         at::ScalarType dtype) {
  return reference::rotary_table(layout, head_dim, theta, dtype);
}

void rotate(at::Tensor x, const RotaryTable& table, int64_t heads, bool inverse) {
  reference::rotate(x, table, heads, inverse);
}

AttentionResult attention(const at::Tensor& qkv,
                          const SequenceLayout& layout,
                          int64_t heads,
                          int64_t kv_heads,
                          int64_t head_dim) {
  return reference::attention(qkv, layout, heads, kv_heads, head_dim);
}

at::Tensor attention_backward(const at::Tensor& grad_out,
                              const at::Tensor& qkv,
                              const AttentionResult& forward,
                              const SequenceLayout& layout,
                              int64_t heads,
                              int64_t kv_heads,
                              int64_t head_dim) {
  return reference::attention_backward(grad_out, qkv, forward, layout, heads, kv_heads, head_dim);
}

double cross_entropy(at::Tensor logits, const at::Tensor& labels, double scale) {
  return reference::cross_entropy(logits, labels, scale);
}

at::Tensor gather_rows(const at::Tensor& x, const at::Tensor& index) {
  return reference::gather_rows(x, index);
}

at::Tensor gather_sum(const at::Tensor& x, const at::Tensor& index_TK) {
  return reference::gather_sum(x, index_TK);
}

void scatter_add_rows(at::Tensor w, const at::Tensor& index_T, const at::Tensor& x) {
  reference::scatter_add_rows(w, index_T, x);
}

}  // namespace enodia::ops
