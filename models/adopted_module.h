#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/local_graph.h"
#include "parallel/parameter_registry.h"

namespace torch::nn {
class Module;
}

namespace enodia {

/// Says by a parameter's name in its module whether it gets weight decay.
using Decays = std::function<bool(const std::string&)>;

/// A LibTorch module whose parameters the registry has adopted, under `name` + "." + their own
/// name: they lie in its memory, what they get as gradients is added to its rows, and their first
/// values are its own, so that they are the same in every layout: normal for matrices, zeros for a
/// vector called bias, ones for the others. Without `decays`, matrices decay. The module computes
/// in the model's type, or when `wide` in the wide type.
///
/// The module's own to(), zero_grad() and optimizer are not to be used. Throws UsageError when it
/// has what would be lost: a buffer, a parameter without a dim or without gradient.
class AdoptedModule {
 public:
  AdoptedModule(std::shared_ptr<torch::nn::Module> module,
                const std::string& name,
                ParameterRegistry& registry,
                const Decays& decays,
                bool wide = false);
  ~AdoptedModule();

  /// f(x), where f uses the module. With `graph` a backward may follow, without nothing is kept.
  at::Tensor forward(const LocalGraph::Function& f, const at::Tensor& x, LocalGraph* graph);
  /// Returns the gradient of x and, if told to, adds those of the parameters to their rows.
  at::Tensor backward(LocalGraph& graph, const at::Tensor& grad_output, bool adds_gradients = true);

 private:
  /// Points the module's parameters at the registry's memory, which exists only after allocate().
  void bind();

  std::shared_ptr<torch::nn::Module> module_;
  std::vector<at::Tensor> parameters_;          // the module's
  std::vector<const DenseParameter*> adopted_;  // the registry's, in the same order
  bool bound_ = false;
};

}  // namespace enodia
