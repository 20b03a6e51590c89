#pragma once

#include <functional>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "models/adopted_module.h"
#include "models/block.h"

namespace enodia {

/// What a wrapped module computes: hidden [T, D] and the layout to the new hidden [T, D]. Ordinary
/// differentiable ATen code; no communication, no in-place change of the input.
using DifferentiableForward =
    std::function<at::Tensor(const at::Tensor& hidden, const SequenceLayout& layout)>;

/// Wraps any LibTorch module into a block (see AdoptedModule for its parameters). Without tokens
/// nothing is run. In a tensor-parallel group every rank runs it for all T tokens, and one of them
/// adds the parameters' gradients. Throws UsageError when the new hidden has another shape or type.
class AutogradBlock : public Block {
 public:
  AutogradBlock(std::shared_ptr<torch::nn::Module> module,
                DifferentiableForward forward,
                const std::string& name,
                int index,
                ParameterRegistry& registry,
                const Decays& decays = {});
  std::string_view phase_name(int) const override { return "autograd"; }
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;
  void forget(BlockState& state) override;
  void recompute(BlockState& state, int phase) override;

 private:
  struct Saved;
  /// The module on all tokens, with a graph for backward unless that is null.
  at::Tensor run(const BlockState& state, const at::Tensor& hidden, LocalGraph* graph);

  AdoptedModule module_;
  DifferentiableForward forward_;
  int index_;
};

}  // namespace enodia
