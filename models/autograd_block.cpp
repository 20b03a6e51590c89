#include "models/autograd_block.h"

#include <utility>

#include "common/check.h"

namespace enodia {

struct AutogradBlock::Saved : SavedState {
  LocalGraph graph;
};

AutogradBlock::AutogradBlock(std::shared_ptr<torch::nn::Module> module,
                             DifferentiableForward forward,
                             const std::string& name,
                             int index,
                             ParameterRegistry& registry,
                             const Decays& decays)
    : module_(std::move(module), name, registry, decays),
      forward_(std::move(forward)),
      index_(index) {}

void AutogradBlock::forward(BlockState& state, int /*phase*/) {
  if (state.hidden.size(0) == 0) {
    return;
  }
  LocalGraph* graph = state.context.training ? &state.saved<Saved>(index_).graph : nullptr;
  at::Tensor out =
      module_.forward([&](const at::Tensor& hidden) { return forward_(hidden, state.layout); },
                      state.hidden,
                      graph);
  ENODIA_CHECK(
      out.sizes() == state.hidden.sizes() && out.scalar_type() == state.hidden.scalar_type(),
      "a block must keep the shape and type of hidden, ",
      state.hidden.sizes(),
      " of ",
      state.hidden.scalar_type(),
      ", but gave ",
      out.sizes(),
      " of ",
      out.scalar_type());
  state.hidden = std::move(out);
}

void AutogradBlock::backward(BlockState& state, int /*phase*/) {
  if (state.grad_hidden.size(0) == 0) {
    return;
  }
  state.grad_hidden = module_.backward(state.saved<Saved>(index_).graph, state.grad_hidden);
  state.release(index_);
}

}  // namespace enodia
