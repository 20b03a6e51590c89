#include "models/autograd_block.h"

#include <utility>

#include "common/check.h"

namespace enodia {

struct AutogradBlock::Saved : SavedState {
  at::Tensor hidden;
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

at::Tensor AutogradBlock::run(const BlockState& state,
                              const at::Tensor& hidden,
                              LocalGraph* graph) {
  at::Tensor out = module_.forward(
      [&](const at::Tensor& x) { return forward_(x, state.layout); }, hidden, graph);
  ENODIA_CHECK(out.sizes() == hidden.sizes() && out.scalar_type() == hidden.scalar_type(),
               "a block must keep the shape and type of hidden, ",
               hidden.sizes(),
               " of ",
               hidden.scalar_type(),
               ", but gave ",
               out.sizes(),
               " of ",
               out.scalar_type());
  return out;
}

void AutogradBlock::forward(BlockState& state, int /*phase*/) {
  const at::Tensor hidden = state.cut.gather(state.hidden);
  if (hidden.size(0) == 0) {
    return;
  }
  LocalGraph* graph = nullptr;
  if (state.context.training) {
    Saved& saved = state.saved<Saved>(index_);
    saved.hidden = state.hidden;
    graph = &saved.graph;
  }
  state.hidden = state.cut.own_rows(run(state, hidden, graph));
}

void AutogradBlock::forget(BlockState& state) {
  const at::Tensor hidden = state.saved<Saved>(index_).hidden;
  state.renew<Saved>(index_).hidden = hidden;
}

void AutogradBlock::recompute(BlockState& state, int /*phase*/) {
  Saved& saved = state.saved<Saved>(index_);
  if (state.layout.num_tokens() > 0) {
    run(state, state.cut.gather(saved.hidden), &saved.graph);
  }
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
