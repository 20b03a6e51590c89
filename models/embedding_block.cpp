#include "models/embedding_block.h"

#include "models/ops.h"

namespace enodia {

void EmbeddingBlock::forward(BlockState& state, int /*phase*/) {
  state.hidden = ops::gather_rows(weight_.value, state.tokens);
}

void EmbeddingBlock::backward(BlockState& state, int /*phase*/) {
  ops::scatter_add_rows(weight_.grad, state.tokens, state.grad_hidden);
  state.grad_hidden = at::Tensor();
}

}  // namespace enodia
