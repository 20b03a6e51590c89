#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/block.h"
#include "parallel/parameter_registry.h"

namespace torch::nn {
class Module;
}

namespace enodia {

/// What a wrapped module computes: hidden [T, D] and the layout to the new hidden [T, D]. Ordinary
/// differentiable ATen code; no communication, no in-place change of the input.
using DifferentiableForward =
    std::function<at::Tensor(const at::Tensor& hidden, const SequenceLayout& layout)>;

/// Wraps any LibTorch module into a block: its parameters are adopted by the registry under `name`
/// + "." + their own name, a local graph is built from a detached input in backward and run by
/// torch::autograd::grad; what a parameter gets is added to its row. A rank with zero tokens runs
/// nothing. The module's own to(), zero_grad() and optimizer are not to be used.
/// `decays` says which parameters get weight decay, by name.
class AutogradBlock : public Block {
 public:
  AutogradBlock(std::shared_ptr<torch::nn::Module> module,
                DifferentiableForward forward,
                const std::string& name,
                int index,
                ParameterRegistry& registry,
                const std::function<bool(const std::string&)>& decays);
  ~AutogradBlock() override;
  std::string_view phase_name(int) const override { return "autograd"; }
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;

 private:
  struct Saved;
  /// Points the module's parameters at the registry's memory, which exists only after allocate().
  void bind();

  std::shared_ptr<torch::nn::Module> module_;
  DifferentiableForward forward_;
  int index_;
  std::vector<std::pair<at::Tensor, const DenseParameter*>> parameters_;  // module's, registry's
  bool bound_ = false;
};

}  // namespace enodia
