#include "models/embedding_block.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include "models/ops.h"

namespace enodia {
namespace {

/// Which of the tokens a part of the vocabulary, at least one word, does not know, and the rows of
/// those that it does (any, of the others).
struct KnownTokens {
  at::Tensor is_unknown;  // [T, 1]
  at::Tensor rows;        // [T]
};
KnownTokens known_tokens(const at::Tensor& tokens, const Slice& vocabulary) {
  const at::Tensor rows = tokens - vocabulary.first;
  return {(rows < 0).logical_or(rows >= vocabulary.count).unsqueeze(1),
          rows.clamp(0, vocabulary.count - 1)};
}

}  // namespace

void EmbeddingBlock::forward(BlockState& state, int /*phase*/) {
  if (!state.cut.is_cut()) {
    state.hidden = ops::gather_rows(weight_.value, state.tokens);
    return;
  }
  at::Tensor parts;
  if (vocabulary_.count > 0) {
    const KnownTokens known = known_tokens(state.tokens, vocabulary_);
    parts = ops::gather_rows(weight_.value, known.rows).masked_fill_(known.is_unknown, 0);
  } else {
    parts = at::zeros({state.tokens.size(0), weight_.value.size(1)}, weight_.value.options());
  }
  state.hidden = state.cut.reduce_scatter(parts);
}

void EmbeddingBlock::backward(BlockState& state, int /*phase*/) {
  const at::Tensor grad = state.cut.gather(state.grad_hidden);
  if (!state.cut.is_cut()) {
    ops::scatter_add_rows(weight_.grad, state.tokens, grad);
  } else if (vocabulary_.count > 0) {
    const KnownTokens known = known_tokens(state.tokens, vocabulary_);
    ops::scatter_add_rows(weight_.grad, known.rows, grad.masked_fill(known.is_unknown, 0));
  }
  state.grad_hidden = at::Tensor();
}

}  // namespace enodia
