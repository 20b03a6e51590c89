#include "models/router/router.h"

#include <utility>

#include <ATen/ops/zeros_like.h>

#include "common/check.h"
#include "models/ops.h"

namespace enodia {

LinearRouter::LinearRouter(const std::string& name,
                           int64_t num_experts,
                           int64_t hidden_size,
                           ParameterRegistry& registry)
    : weight_(registry.add_dense(
          {{name + ".weight", num_experts}}, hidden_size, {.decays = false, .wide = true})) {}

at::Tensor LinearRouter::forward(const at::Tensor& normed, LocalGraph* /*graph*/) {
  return ops::linear(normed, weight_.value);
}

at::Tensor LinearRouter::backward(const at::Tensor& grad_logits,
                                  const at::Tensor& normed,
                                  LocalGraph& /*graph*/) {
  ops::linear_backward_weight(grad_logits, normed, weight_.grad);
  return ops::linear_backward_input(grad_logits, weight_.value);
}

AutogradRouter::AutogradRouter(std::shared_ptr<torch::nn::Module> module,
                               LocalGraph::Function logits_of,
                               const std::string& name,
                               int64_t num_experts,
                               ParameterRegistry& registry)
    : module_(
          std::move(module),
          name,
          registry,
          [](const std::string&) { return false; },
          /*wide=*/true),
      logits_of_(std::move(logits_of)),
      num_experts_(num_experts) {}

at::Tensor AutogradRouter::forward(const at::Tensor& normed, LocalGraph* graph) {
  if (normed.size(0) == 0) {
    return normed.new_empty({0, num_experts_});
  }
  const at::Tensor logits = module_.forward(logits_of_, normed, graph);
  ENODIA_CHECK(logits.dim() == 2 && logits.size(0) == normed.size(0) &&
                   logits.size(1) == num_experts_ && logits.scalar_type() == normed.scalar_type(),
               "a router must give logits for ",
               normed.size(0),
               " tokens and ",
               num_experts_,
               " experts in the type of its input");
  return logits;
}

at::Tensor AutogradRouter::backward(const at::Tensor& grad_logits,
                                    const at::Tensor& normed,
                                    LocalGraph& graph) {
  return normed.size(0) == 0 ? at::zeros_like(normed) : module_.backward(graph, grad_logits);
}

}  // namespace enodia
