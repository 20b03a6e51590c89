#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/block.h"
#include "models/model_options.h"
#include "models/qk_norm.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// x += o_proj(attention(norm(x))): grouped-query attention with RoPE (models/rotary.h), optional
/// RMSNorm of q and k (models/qk_norm.h), optional biases; causal inside each segment of the
/// layout. Explicit backward; its module form is the oracle in tests/references. Heads are cut
/// among the ranks of a tensor- parallel group (parallel/slice.h), each of which attends for all T
/// tokens.
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
  void forget(BlockState& state) override;
  void recompute(BlockState& state, int phase) override;

 private:
  struct Saved;
  /// From saved.hidden to the heads' outputs: all that backward needs.
  void attend(const BlockState& state, Saved& saved) const;
  /// One matrix with its bias, or null: a part of the columns of qkv.
  struct Projection {
    const DenseParameter* weight;
    const DenseParameter* bias;
  };
  void add_projections(const std::string& name, ParameterRegistry& registry);
  /// Of this rank's heads.
  int64_t query_width() const { return heads_.query.count * options_.head_dim; }
  int64_t key_width() const { return heads_.key_value.count * options_.head_dim; }
  at::Tensor project(const at::Tensor& normed) const;
  /// Adds to the projections' gradients and returns that of `normed`.
  at::Tensor project_backward(const at::Tensor& grad_qkv, const at::Tensor& normed) const;
  /// Normalizes and rotates the q and k columns of qkv [T, (H + 2G) d] in place.
  void prepare_heads(at::Tensor& qkv, const BlockState& state, Saved& saved) const;
  void prepare_heads_backward(at::Tensor& grad_qkv,
                              const BlockState& state,
                              const Saved& saved) const;
  void rotate(const at::Tensor& qkv, const Saved& saved, bool inverse) const;

  const ModelOptions options_;
  const int index_;
  const HeadShare heads_;
  const DenseParameter& norm_;
  std::vector<Projection> projections_;  // q, k and v in one; or q, and k and v
  const DenseParameter& out_;
  const DenseParameter* out_bias_ = nullptr;
  std::optional<QkNorm> query_norm_, key_norm_;
};

}  // namespace enodia
