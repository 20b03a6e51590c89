#include "models/shared_experts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/sigmoid.h>

#include "models/ops.h"

namespace enodia {

SharedExperts::SharedExperts(const ModelOptions& options,
                             const std::string& name,
                             ParameterRegistry& registry)
    : ffn_(name + ".shared_experts", options.hidden_size, options.shared_width(), registry) {
  if (options.shared_expert_gate) {
    gate_ = &registry.add_dense({{name + ".shared_expert_gate.weight", 1}},
                                options.hidden_size,
                                {.decays = false, .wide = true});
  }
}

at::Tensor SharedExperts::forward(const SequenceParallel& cut,
                                  const at::Tensor& x,
                                  Saved& saved) const {
  const at::Tensor out = ffn_.forward(cut, x, saved.gate_up);
  if (gate_ == nullptr) {
    return out;
  }
  saved.out = out;
  saved.share = at::sigmoid(ops::linear(ops::wide(x), gate_->value));
  return (out * saved.share).to(out.scalar_type());
}

void SharedExperts::recompute(const SequenceParallel& cut,
                              const at::Tensor& x,
                              Saved& saved) const {
  if (gate_ != nullptr) {
    forward(cut, x, saved);
  }
}

at::Tensor SharedExperts::backward(const SequenceParallel& cut,
                                   const at::Tensor& grad_y,
                                   const at::Tensor& x,
                                   const Saved& saved) const {
  if (gate_ == nullptr) {
    return ffn_.backward(cut, grad_y, x, saved.gate_up);
  }
  const at::Tensor grad_out = (grad_y * saved.share).to(grad_y.scalar_type());
  at::Tensor grad_x = ffn_.backward(cut, grad_out, x, saved.gate_up);
  const at::Tensor grad_share = (ops::wide(grad_y) * saved.out).sum(1, /*keepdim=*/true);
  const at::Tensor grad_logit = grad_share * saved.share * (1 - saved.share);
  ops::linear_backward_weight(grad_logit, x, gate_->grad);
  return grad_x.add_(ops::linear_backward_input(grad_logit, gate_->value));
}

}  // namespace enodia
