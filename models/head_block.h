#pragma once

#include <string>

#include "models/block.h"
#include "models/model_options.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// Final norm, language-model head and cross-entropy. With labels it adds to the losses and, when
/// training, computes the gradients at once, chunk by chunk of rows, so that no [T, V] tensor ever
/// exists; its backward only hands the gradient on. Without labels it returns logits of the wanted
/// rows.
class HeadBlock : public Block {
 public:
  /// `weight` is [V, D]: the head's own or, tied, the embedding's.
  HeadBlock(const ModelOptions& options,
            int index,
            const DenseParameter& weight,
            ParameterRegistry& registry);
  std::string_view phase_name(int) const override { return "head"; }
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;

 private:
  struct Saved;
  at::Tensor losses(BlockState& state, const at::Tensor& normed) const;

  const double eps_;
  const int index_;
  const DenseParameter &norm_, &weight_;
};

}  // namespace enodia
