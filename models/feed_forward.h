#pragma once

#include <string>

#include "models/block.h"
#include "models/model_options.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// A SwiGLU feed-forward, y = down(silu(gate(x)) * up(x)): of dense layers and of shared experts.
/// Its hidden dim is cut among the ranks of a tensor-parallel group: w columns are this rank's.
class FeedForward {
 public:
  /// `name` is "model.layers.0.mlp"; width is the hidden dim of the feed-forward.
  FeedForward(const std::string& name,
              int64_t hidden_size,
              int64_t width,
              ParameterRegistry& registry);
  /// [Tr, D] -> [Tr, D]; gate_up [T, 2w] is what backward needs besides x.
  at::Tensor forward(const SequenceParallel& cut, const at::Tensor& x, at::Tensor& gate_up) const;
  /// Adds to the weights' gradients and returns that of x. An undefined gate_up is computed again.
  at::Tensor backward(const SequenceParallel& cut,
                      const at::Tensor& grad_y,
                      const at::Tensor& x,
                      const at::Tensor& gate_up) const;

 private:
  const DenseParameter &gate_up_, &down_;
};

/// x += feed_forward(norm(x)).
class DenseMlpBlock : public Block {
 public:
  DenseMlpBlock(const ModelOptions& options,
                const std::string& layer_name,
                int index,
                ParameterRegistry& registry);
  std::string_view phase_name(int) const override { return "mlp"; }
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;
  void forget(BlockState& state) override;
  void recompute(BlockState& state, int phase) override;

 private:
  struct Saved;
  const double eps_;
  const int index_;
  const DenseParameter& norm_;
  const FeedForward mlp_;
};

}  // namespace enodia
