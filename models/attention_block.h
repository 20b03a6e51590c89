#pragma once

#include <string>

#include "models/block.h"
#include "models/model_options.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// x += o_proj(attention(norm(x))): grouped-query attention with RoPE, optional RMSNorm of each
/// head of q and k, optional biases; causal inside each segment of the layout. Explicit backward;
/// its module form is the oracle in tests/references.
class AttentionBlock : public Block {
 public:
  /// `layer_name` is "model.layers.3"; `index` numbers the block in its decoder.
  AttentionBlock(const ModelOptions& options,
                 const std::string& layer_name,
                 int index,
                 ParameterRegistry& registry);
  std::string_view phase_name(int) const override { return "attention"; }
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;

 private:
  struct Saved;
  int64_t query_width() const { return options_.num_attention_heads * options_.head_dim; }
  int64_t key_width() const { return options_.num_key_value_heads * options_.head_dim; }
  /// Normalizes and rotates the q and k columns of qkv [T, (H + 2G) d] in place.
  void prepare_heads(at::Tensor& qkv, const BlockState& state, Saved& saved) const;
  void prepare_heads_backward(at::Tensor& grad_qkv, const Saved& saved) const;

  const ModelOptions options_;
  const int index_;
  const DenseParameter &norm_, &qkv_, &out_;
  const DenseParameter *bias_ = nullptr, *out_bias_ = nullptr, *query_norm_ = nullptr,
                       *key_norm_ = nullptr;
};

}  // namespace enodia
