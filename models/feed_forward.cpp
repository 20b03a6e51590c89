#include "models/feed_forward.h"

#include "models/ops.h"

namespace enodia {

FeedForward::FeedForward(const std::string& name,
                         int64_t hidden_size,
                         int64_t width,
                         ParameterRegistry& registry)
    : gate_up_(
          registry.add_dense({{name + ".gate_proj.weight", width, registry.place().share(width)},
                              {name + ".up_proj.weight", width, registry.place().share(width)}},
                             hidden_size,
                             {.holders = Holders::kData})),
      down_(registry.add_dense(
          {{name + ".down_proj.weight", hidden_size}},
          width,
          {.holders = Holders::kData, .held_columns = registry.place().share(width)})) {}

at::Tensor FeedForward::forward(const SequenceParallel& cut,
                                const at::Tensor& x,
                                at::Tensor& gate_up) const {
  gate_up = ops::linear(cut.gather(x), gate_up_.value);
  return cut.reduce_scatter(ops::linear(ops::swiglu(gate_up), down_.value));
}

at::Tensor FeedForward::backward(const SequenceParallel& cut,
                                 const at::Tensor& grad_y,
                                 const at::Tensor& x,
                                 const at::Tensor& gate_up) const {
  const at::Tensor grad = cut.gather(grad_y);
  const at::Tensor all_x = cut.gather(x);  // cheaper than keeping the rows of other ranks
  const at::Tensor hidden = gate_up.defined() ? gate_up : ops::linear(all_x, gate_up_.value);
  // The activation is computed again: cheaper than keeping a third [T, w] tensor.
  ops::linear_backward_weight(grad, ops::swiglu(hidden), down_.grad);
  const at::Tensor grad_act = ops::linear_backward_input(grad, down_.value);
  const at::Tensor grad_gate_up = ops::swiglu_backward(grad_act, hidden).gate_up;
  ops::linear_backward_weight(grad_gate_up, all_x, gate_up_.grad);
  return cut.reduce_scatter(ops::linear_backward_input(grad_gate_up, gate_up_.value));
}

struct DenseMlpBlock::Saved : SavedState {
  at::Tensor hidden, normed, rstd, gate_up;
};

DenseMlpBlock::DenseMlpBlock(const ModelOptions& options,
                             const std::string& layer_name,
                             int index,
                             ParameterRegistry& registry)
    : eps_(options.rms_norm_eps),
      index_(index),
      norm_(registry.add_dense(
          {{layer_name + ".post_attention_layernorm.weight", options.hidden_size}},
          0,
          {.decays = false, .initializer = Initializer::kOnes, .wide = true})),
      mlp_(layer_name + ".mlp", options.hidden_size, options.intermediate_size, registry) {}

void DenseMlpBlock::forward(BlockState& state, int /*phase*/) {
  Saved local;
  Saved& saved = state.context.training ? state.saved<Saved>(index_) : local;
  saved.hidden = state.hidden;
  auto [normed, rstd] = ops::rms_norm(state.hidden, norm_.value, eps_);
  saved.normed = normed;
  saved.rstd = rstd;
  state.hidden = mlp_.forward(state.cut, normed, saved.gate_up).add_(state.hidden);
}

void DenseMlpBlock::forget(BlockState& state) {
  const at::Tensor hidden = state.saved<Saved>(index_).hidden;
  state.renew<Saved>(index_).hidden = hidden;
}

/// backward computes the hidden product again.
void DenseMlpBlock::recompute(BlockState& state, int /*phase*/) {
  Saved& saved = state.saved<Saved>(index_);
  auto [normed, rstd] = ops::rms_norm(saved.hidden, norm_.value, eps_);
  saved.normed = normed;
  saved.rstd = rstd;
}

void DenseMlpBlock::backward(BlockState& state, int /*phase*/) {
  const Saved& saved = state.saved<Saved>(index_);
  const at::Tensor grad_normed =
      mlp_.backward(state.cut, state.grad_hidden, saved.normed, saved.gate_up);
  at::Tensor norm_grad = norm_.grad;
  state.grad_hidden =
      ops::rms_norm_backward(grad_normed, saved.hidden, norm_.value, saved.rstd, norm_grad)
          .add_(state.grad_hidden);
  state.release(index_);
}

}  // namespace enodia
