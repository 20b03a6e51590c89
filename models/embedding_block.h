#pragma once

#include "models/block.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// Token ids to the residual stream: hidden[t] = weight[tokens[t]]. Each rank of a tensor-parallel
/// group looks up what its part of the vocabulary knows.
class EmbeddingBlock : public Block {
 public:
  /// `weight` holds the rows `vocabulary` of [V, D] and outlives the block.
  EmbeddingBlock(const DenseParameter& weight, const Slice& vocabulary)
      : weight_(weight),
        vocabulary_(vocabulary) {}
  std::string_view phase_name(int) const override { return "embed"; }
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;

 private:
  const DenseParameter& weight_;
  const Slice vocabulary_;
};

}  // namespace enodia
