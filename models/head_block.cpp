#include "models/head_block.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/empty_like.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "common/check.h"
#include "models/cut_cross_entropy.h"
#include "models/local_graph.h"
#include "models/ops.h"

namespace enodia {
namespace {

constexpr int64_t kChunkRows = 512;  // best of 128, 256, 512 and 2048 on a CPU step

}  // namespace

struct HeadBlock::Saved : SavedState {
  at::Tensor hidden, rstd, grad_normed;
};

HeadBlock::HeadBlock(const ModelOptions& options,
                     int index,
                     const DenseParameter& weight,
                     const Slice& vocabulary,
                     ParameterRegistry& registry,
                     LossFunction loss)
    : eps_(options.rms_norm_eps),
      index_(index),
      vocab_size_(options.vocab_size),
      norm_(registry.add_dense({{"model.norm.weight", options.hidden_size}},
                               0,
                               {.decays = false, .initializer = Initializer::kOnes, .wide = true})),
      weight_(weight),
      vocabulary_(vocabulary),
      loss_(std::move(loss)) {}

void HeadBlock::forward(BlockState& state, int /*phase*/) {
  if (!state.labels.defined()) {
    state.logits = wanted_logits(state);
    return;
  }
  auto [normed, rstd] = ops::rms_norm(state.hidden, norm_.value, eps_);
  const at::Tensor grad_normed =
      state.cut.is_cut() ? cut_losses(state, normed) : losses(state, normed);
  if (state.context.training) {
    Saved& saved = state.saved<Saved>(index_);
    saved.hidden = state.hidden;
    saved.rstd = rstd;
    saved.grad_normed = grad_normed;
  }
  state.hidden = at::Tensor();
}

/// Adds the cross-entropy; when training returns its gradient at `normed`.
at::Tensor HeadBlock::losses(BlockState& state, const at::Tensor& normed) const {
  const bool training = state.context.training;
  const double scale =
      training ? 1.0 / static_cast<double>(state.context.valid_tokens_of_step) : 0.0;
  at::Tensor grad_normed = training ? at::empty_like(normed) : at::Tensor();
  const at::Tensor weight = ops::wide(weight_.value);
  for (int64_t first = 0; first < normed.size(0); first += kChunkRows) {
    const int64_t rows = std::min(kChunkRows, normed.size(0) - first);
    const at::Tensor x = ops::wide(normed.narrow(0, first, rows));
    const at::Tensor labels = state.labels.narrow(0, first, rows);
    at::Tensor logits = ops::linear(x, weight);
    const bool is_own = training && loss_;
    LossSums::add(state.losses.cross_entropy,
                  ops::cross_entropy(logits, labels, is_own ? 0.0 : scale));
    if (is_own) {
      logits = own_loss(logits, labels, scale, state.losses);
    }
    if (training) {  // the logits now hold their own gradient
      ops::linear_backward_weight(logits, x, weight_.grad);
      ops::linear_backward_input_into(grad_normed.narrow(0, first, rows), logits, weight);
    }
  }
  return grad_normed;
}

/// Adds the loss of one's own to the sums and returns scale times its gradient at the logits.
at::Tensor HeadBlock::own_loss(const at::Tensor& logits,
                               const at::Tensor& labels,
                               double scale,
                               LossSums& sums) const {
  LocalGraph graph;
  const at::Tensor loss =
      graph.record([&](const at::Tensor& leaf) { return loss_(leaf, labels); }, logits);
  ENODIA_CHECK_EQ(loss.numel(), 1, "a loss must be one number, the sum over the rows");
  LossSums::add(sums.objective, loss.to(at::kDouble).reshape({}));
  const at::Tensor gradient = graph.gradients(at::full_like(loss, scale))[0];
  return gradient.defined() ? gradient.contiguous() : at::zeros_like(logits);
}

at::Tensor HeadBlock::wanted_logits(const BlockState& state) const {
  const at::Tensor rows = ops::gather_rows(state.cut.gather(state.hidden), state.wanted_rows);
  const at::Tensor own =
      ops::linear(ops::wide(ops::rms_norm(rows, norm_.value, eps_).y), ops::wide(weight_.value));
  if (!state.cut.is_cut()) {
    return own;
  }
  at::Tensor logits = at::zeros({rows.size(0), vocab_size_}, own.options());
  logits.narrow(1, vocabulary_.first, vocabulary_.count).copy_(own);
  state.cut.sum(logits);
  return logits;
}

/// The same as losses() where each rank has some columns of the logits. What ranks need of each
/// other is, of every row, the logsumexp of their columns and the logit of the label.
at::Tensor HeadBlock::cut_losses(BlockState& state, const at::Tensor& normed) const {
  ENODIA_CHECK(!loss_, "a loss of one's own needs whole rows of logits");
  const bool training = state.context.training;
  const double scale =
      training ? 1.0 / static_cast<double>(state.context.valid_tokens_of_step) : 0.0;
  const at::Tensor x_TD = state.cut.gather(normed);
  at::Tensor grad_TD = training ? at::empty_like(x_TD) : at::Tensor();
  const at::Tensor weight = ops::wide(weight_.value);
  const at::Tensor nats = at::zeros({x_TD.size(0)}, x_TD.options().dtype(at::kDouble));
  for (int64_t first = 0; first < x_TD.size(0); first += kChunkRows) {
    const int64_t rows = std::min(kChunkRows, x_TD.size(0) - first);
    const at::Tensor x = ops::wide(x_TD.narrow(0, first, rows));
    const at::Tensor labels = state.labels.narrow(0, first, rows);
    at::Tensor logits = ops::linear(x, weight);
    const JoinedCrossEntropy joined = join_cross_entropy(
        state.cut.stack(cross_entropy_parts(logits, labels, vocabulary_.first)), labels);
    nats.narrow(0, first, rows).copy_(joined.nats);
    if (training) {
      cross_entropy_backward(logits, labels, vocabulary_.first, joined.logsumexp, scale);
      ops::linear_backward_weight(logits, x, weight_.grad);
      ops::linear_backward_input_into(grad_TD.narrow(0, first, rows), logits, weight);
    }
  }
  LossSums::add(state.losses.cross_entropy, state.cut.own_rows(nats).sum());
  return training ? state.cut.reduce_scatter(grad_TD) : at::Tensor();
}

void HeadBlock::backward(BlockState& state, int /*phase*/) {
  const Saved& saved = state.saved<Saved>(index_);
  at::Tensor norm_grad = norm_.grad;
  state.grad_hidden =
      ops::rms_norm_backward(saved.grad_normed, saved.hidden, norm_.value, saved.rstd, norm_grad);
  state.release(index_);
}

}  // namespace enodia
