#include "models/ops_mixed.h"

#include "common/check.h"

namespace enodia::ops::mixed {
namespace {

at::Tensor rounded(const at::Tensor& x) {
  return x.to(at::kBFloat16);
}

}  // namespace

RmsNormResult rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps) {
  const RmsNormResult result = ops::rms_norm(wide(x_TD), wide(w_D), eps);
  return {result.y.to(x_TD.scalar_type()), result.rstd};
}

at::Tensor rms_norm_backward(const at::Tensor& grad_y_TD,
                             const at::Tensor& x_TD,
                             const at::Tensor& w_D,
                             const at::Tensor& rstd_T,
                             at::Tensor& grad_w_D) {
  return ops::rms_norm_backward(wide(grad_y_TD), wide(x_TD), wide(w_D), rstd_T, grad_w_D)
      .to(x_TD.scalar_type());
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  return rounded(ops::linear(wide(x), wide(w), bias.defined() ? wide(bias) : bias));
}

void linear_into(at::Tensor y, const at::Tensor& x, const at::Tensor& w) {
  y.copy_(ops::linear(wide(x), wide(w)));
}

void linear_backward_input_into(at::Tensor grad_x, const at::Tensor& grad_y, const at::Tensor& w) {
  grad_x.copy_(ops::linear_backward_input(wide(grad_y), wide(w)));
}

at::Tensor swiglu(const at::Tensor& gate_up, const at::Tensor& row_weight) {
  return rounded(ops::swiglu(wide(gate_up), row_weight));
}

SwigluGradients swiglu_backward(const at::Tensor& grad_act,
                                const at::Tensor& gate_up,
                                const at::Tensor& row_weight) {
  const SwigluGradients gradients = ops::swiglu_backward(wide(grad_act), wide(gate_up), row_weight);
  return {rounded(gradients.gate_up), gradients.row_weight};
}

void rotate(at::Tensor x, const RotaryTable& table, int64_t heads, bool inverse) {
  const at::Tensor turned = wide(x).contiguous();
  ops::rotate(turned, table, heads, inverse);
  x.copy_(turned);
}

AttentionResult attention(const at::Tensor& qkv,
                          const SequenceLayout& layout,
                          int64_t heads,
                          int64_t kv_heads,
                          int64_t head_dim) {
  const AttentionResult result = ops::attention(wide(qkv), layout, heads, kv_heads, head_dim);
  return {rounded(result.out), result.logsumexp};
}

at::Tensor attention_backward(const at::Tensor& grad_out,
                              const at::Tensor& qkv,
                              const AttentionResult& forward,
                              const SequenceLayout& layout,
                              int64_t heads,
                              int64_t kv_heads,
                              int64_t head_dim) {
  const AttentionResult widened{wide(forward.out), forward.logsumexp};
  return rounded(ops::attention_backward(
      wide(grad_out), wide(qkv), widened, layout, heads, kv_heads, head_dim));
}

}  // namespace enodia::ops::mixed
