#include "models/embedding_block.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/zeros.h>

#include "models/ops.h"

namespace enodia {
namespace {

/// The places of the tokens that a part of the vocabulary knows, [N].
at::Tensor known_places(const at::Tensor& tokens, const Slice& vocabulary) {
  return at::nonzero((tokens >= vocabulary.first).logical_and(tokens < vocabulary.end()))
      .squeeze(1);
}

}  // namespace

void EmbeddingBlock::forward(BlockState& state, int /*phase*/) {
  if (!state.cut.is_cut()) {
    state.hidden = ops::gather_rows(weight_.value, state.tokens);
    return;
  }
  const at::Tensor places = known_places(state.tokens, vocabulary_);
  const at::Tensor rows = state.tokens.index_select(0, places) - vocabulary_.first;
  at::Tensor parts =
      at::zeros({state.tokens.size(0), weight_.value.size(1)}, weight_.value.options());
  parts.index_copy_(0, places, ops::gather_rows(weight_.value, rows));
  state.hidden = state.cut.reduce_scatter(parts);
}

void EmbeddingBlock::backward(BlockState& state, int /*phase*/) {
  const at::Tensor grad = state.cut.gather(state.grad_hidden);
  if (!state.cut.is_cut()) {
    ops::scatter_add_rows(weight_.grad, state.tokens, grad);
  } else {
    const at::Tensor places = known_places(state.tokens, vocabulary_);
    const at::Tensor rows = state.tokens.index_select(0, places) - vocabulary_.first;
    ops::scatter_add_rows(weight_.grad, rows, grad.index_select(0, places));
  }
  state.grad_hidden = at::Tensor();
}

}  // namespace enodia
