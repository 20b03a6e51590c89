#pragma once

#include <functional>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "models/adopted_module.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// What scores the experts of one MoE layer: normed [T, D] to logits [T, E], both in the wide type,
/// as are its parameters. Selection, weights and the router's losses are route.h's. Local.
class Router {
 public:
  virtual ~Router() = default;
  /// With `graph` a backward of the same `normed` may follow, which gets it again.
  virtual at::Tensor forward(const at::Tensor& normed, LocalGraph* graph) = 0;
  /// Returns the gradient of normed and adds those of the parameters.
  virtual at::Tensor backward(const at::Tensor& grad_logits,
                              const at::Tensor& normed,
                              LocalGraph& graph) = 0;
};

/// normed W^T, without autograd. The parameter is `name` + ".weight".
class LinearRouter : public Router {
 public:
  LinearRouter(const std::string& name,
               int64_t num_experts,
               int64_t hidden_size,
               ParameterRegistry& registry);
  at::Tensor forward(const at::Tensor& normed, LocalGraph* graph) override;
  at::Tensor backward(const at::Tensor& grad_logits,
                      const at::Tensor& normed,
                      LocalGraph& graph) override;

 private:
  const DenseParameter& weight_;
};

/// Wraps any LibTorch module into a router (see AdoptedModule for its parameters, none of which
/// decays). A rank with zero tokens runs nothing. Throws UsageError unless the logits are [T, E] in
/// the type of normed.
class AutogradRouter : public Router {
 public:
  /// `logits_of` is ordinary differentiable ATen code; no communication.
  AutogradRouter(std::shared_ptr<torch::nn::Module> module,
                 LocalGraph::Function logits_of,
                 const std::string& name,
                 int64_t num_experts,
                 ParameterRegistry& registry);
  at::Tensor forward(const at::Tensor& normed, LocalGraph* graph) override;
  at::Tensor backward(const at::Tensor& grad_logits,
                      const at::Tensor& normed,
                      LocalGraph& graph) override;

 private:
  AdoptedModule module_;
  LocalGraph::Function logits_of_;
  int64_t num_experts_;
};

}  // namespace enodia
