#pragma once

#include "models/block.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// Token ids to the residual stream: hidden[t] = weight[tokens[t]].
class EmbeddingBlock : public Block {
 public:
  /// `weight` is [V, D] and outlives the block.
  explicit EmbeddingBlock(const DenseParameter& weight) : weight_(weight) {}
  std::string_view phase_name(int) const override { return "embed"; }
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;

 private:
  const DenseParameter& weight_;
};

}  // namespace enodia
