#pragma once

#include <optional>
#include <string>

#include "models/feed_forward.h"
#include "models/model_options.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// What every token of an MoE layer passes besides its experts: y = FFN(x), or sigmoid(g . x)
/// FFN(x) with a gate of its own (Qwen2-MoE).
class SharedExperts {
 public:
  /// What backward needs besides x.
  struct Saved {
    at::Tensor gate_up;
    at::Tensor out, share;  // with a gate: of the FFN [Tr, D], and the sigmoid [Tr, 1], wide
  };
  /// `name` is "model.layers.3.mlp".
  SharedExperts(const ModelOptions& options, const std::string& name, ParameterRegistry& registry);
  /// [Tr, D] -> [Tr, D].
  at::Tensor forward(const SequenceParallel& cut, const at::Tensor& x, Saved& saved) const;
  /// Makes again what backward needs and cannot make by itself.
  void recompute(const SequenceParallel& cut, const at::Tensor& x, Saved& saved) const;
  /// Adds to the weights' gradients and returns that of x.
  at::Tensor backward(const SequenceParallel& cut,
                      const at::Tensor& grad_y,
                      const at::Tensor& x,
                      const Saved& saved) const;

 private:
  const FeedForward ffn_;
  const DenseParameter* gate_ = nullptr;  // [1, D]
};

}  // namespace enodia
