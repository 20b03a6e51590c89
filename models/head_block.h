#pragma once

#include <string>

#include "models/block.h"
#include "models/model_options.h"
#include "models/model_parts.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// Final norm, language-model head and cross-entropy. With labels it adds to the losses and, when
/// training, computes the gradients at once, chunk by chunk of rows, so that no [T, V] tensor ever
/// exists; its backward only hands the gradient on. In a tensor-parallel group each rank has the
/// logits of its part of the vocabulary for all T tokens (Megatron-LM, arXiv 1909.08053, section
/// 3). Without labels it returns logits of the wanted rows. A loss of one's own takes the place of
/// cross-entropy in what is trained, not in what is reported as such.
class HeadBlock : public Block {
 public:
  /// `weight` holds the rows `vocabulary` of [V, D]: the head's own or, tied, the embedding's. An
  /// empty `loss` stands for cross-entropy.
  HeadBlock(const ModelOptions& options,
            int index,
            const DenseParameter& weight,
            const Slice& vocabulary,
            ParameterRegistry& registry,
            LossFunction loss = {});
  std::string_view phase_name(int) const override { return "head"; }
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;

 private:
  struct Saved;
  at::Tensor wanted_logits(const BlockState& state) const;
  at::Tensor losses(BlockState& state, const at::Tensor& normed) const;
  at::Tensor own_loss(const at::Tensor& logits,
                      const at::Tensor& labels,
                      double scale,
                      LossSums& sums) const;
  at::Tensor cut_losses(BlockState& state, const at::Tensor& normed) const;

  const double eps_;
  const int index_;
  const int64_t vocab_size_;
  const DenseParameter &norm_, &weight_;
  const Slice vocabulary_;
  const LossFunction loss_;
};

}  // namespace enodia
