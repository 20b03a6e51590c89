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
  const at::Tensor hidden = state.cut.gather(state.hidden);
  if (hidden.size(0) == 0) {
    return;
  }
  LocalGraph* graph = state.context.training ? &state.saved<Saved>(index_).graph : nullptr;
  at::Tensor out =
      module_.forward(
          [&](const at::Tensor& x) { return forward_(x, state.layout); }, hidden, graph);
  ENODIA_CHECK(
      out.sizes() == hidden.sizes() && out.scalar_type() == hidden.scalar_type(),
      "a block must keep the shape and type of hidden, ",
      hidden.sizes(),
      " of ",
      hidden.scalar_type(),
      ", but gave ",
      out.sizes(),
      " of ",
      out.scalar_type());
  state.hidden = state.cut.own_rows(out);
}

void AutogradBlock::backward(BlockState& state, int /*phase*/) {
  const at::Tensor grad = state.cut.gather(state.grad_hidden);
  if (grad.size(0) == 0) {
    return;
  }
  state.grad_hidden = state.cut.own_rows(
      module_.backward(state.saved<Saved>(index_).graph, grad, state.cut.is_first()));
  state.release(index_);
}

}  // namespace enodia
