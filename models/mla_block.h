#pragma once

#include <string>

#include "models/block.h"
#include "models/model_options.h"
#include "models/ops.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// x += o_proj(attention(norm(x))) with keys and values that are made from one narrow latent of the
/// token, and optionally queries from another: multi-head latent attention (DeepSeek-V2, arXiv
/// 2405.04434, section 2.1). A head's query and key have a part without position and a rotated
/// one, which all heads of the key share. Causal inside each segment of the layout; explicit
/// backward. Latents are computed for a rank's own tokens; heads are cut among the ranks of a
/// tensor-parallel group, each of which attends for all T tokens.
class MlaBlock : public Block {
 public:
  /// `layer_name` is "model.layers.3"; `index` numbers the block in its decoder.
  MlaBlock(const ModelOptions& options,
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
  bool has_query_latent() const { return options_.q_lora_rank > 0; }
  /// Columns of what a token's heads are made from, [source of queries, latent, key to rotate].
  int64_t source_width() const {
    return has_query_latent() ? options_.q_lora_rank : options_.hidden_size;
  }
  int64_t shared_width() const {
    return source_width() + options_.kv_lora_rank + options_.qk_rope_head_dim;
  }
  void add_latents(const std::string& name, ParameterRegistry& registry);
  /// Of a rank's own tokens: [Tr, D] -> [Tr, shared_width].
  at::Tensor make_latents(const at::Tensor& normed, Saved& saved) const;
  /// From the gradient of that to that of `normed`.
  at::Tensor latents_backward(const at::Tensor& grad_latents, const Saved& saved) const;
  /// Of all tokens: [T, shared_width] -> qkv of this rank's heads, [T, 3 heads d].
  at::Tensor make_heads(const at::Tensor& latents, const BlockState& state, Saved& saved) const;
  /// From the gradient of qkv to that of the latents.
  at::Tensor heads_backward(const at::Tensor& grad_qkv,
                            const at::Tensor& latents,
                            const Saved& saved) const;
  at::Tensor source_of(const at::Tensor& latents) const;
  at::Tensor latent_of(const at::Tensor& latents) const;
  at::Tensor without_filling(const at::Tensor& out) const;
  at::Tensor with_filling(const at::Tensor& grad) const;

  const ModelOptions options_;
  const int index_;
  const Slice heads_;
  /// The kernels know one width for q, k and v: zeros fill up the narrower ones.
  const int64_t dim_;
  /// Multiplies q, to make up for the kernels' 1 / sqrt(dim_).
  const double query_scale_;
  const DenseParameter& norm_;
  const DenseParameter *query_latent_ = nullptr, *query_latent_bias_ = nullptr;
  const DenseParameter* query_latent_norm_ = nullptr;
  const DenseParameter *latent_ = nullptr, *latent_bias_ = nullptr, *latent_norm_ = nullptr;
  const DenseParameter *query_ = nullptr, *key_value_ = nullptr, *out_ = nullptr;
  const DenseParameter* out_bias_ = nullptr;
};

}  // namespace enodia
