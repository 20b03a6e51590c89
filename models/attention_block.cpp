#include "models/attention_block.h"

#include <ATen/ops/add.h>
#include <ATen/ops/empty_like.h>

#include "models/ops.h"

namespace enodia {

namespace {

constexpr DenseOptions kNorm{.decays = false, .initializer = Initializer::kOnes};
constexpr DenseOptions kBias{.decays = false, .initializer = Initializer::kZeros};

/// Undefined for a bias that there is not.
at::Tensor value_of(const DenseParameter* bias) {
  return bias != nullptr ? bias->value : at::Tensor();
}
at::Tensor grad_of(const DenseParameter* bias) {
  return bias != nullptr ? bias->grad : at::Tensor();
}

}  // namespace

struct AttentionBlock::Saved : SavedState {
  at::Tensor hidden, normed, rstd, qkv;
  at::Tensor raw_queries, query_rstd, raw_keys, key_rstd;  // before their norms, [T heads, d]
  ops::RotaryTable rotary;
  ops::AttentionResult attention;
};

AttentionBlock::AttentionBlock(const ModelOptions& options,
                               const std::string& layer_name,
                               int index,
                               ParameterRegistry& registry)
    : options_(options),
      index_(index),
      norm_(registry.add_dense(
          {{layer_name + ".input_layernorm.weight", options.hidden_size}}, 0, kNorm)),
      qkv_(registry.add_dense({{layer_name + ".self_attn.q_proj.weight", query_width()},
                               {layer_name + ".self_attn.k_proj.weight", key_width()},
                               {layer_name + ".self_attn.v_proj.weight", key_width()}},
                              options.hidden_size)),
      out_(registry.add_dense({{layer_name + ".self_attn.o_proj.weight", options.hidden_size}},
                              query_width())) {
  if (options.attention_bias) {
    bias_ = &registry.add_dense({{layer_name + ".self_attn.q_proj.bias", query_width()},
                                 {layer_name + ".self_attn.k_proj.bias", key_width()},
                                 {layer_name + ".self_attn.v_proj.bias", key_width()}},
                                0,
                                kBias);
  }
  if (options.attention_output_bias) {
    out_bias_ = &registry.add_dense(
        {{layer_name + ".self_attn.o_proj.bias", options.hidden_size}}, 0, kBias);
  }
  if (options.use_qk_norm) {
    query_norm_ = &registry.add_dense(
        {{layer_name + ".self_attn.q_norm.weight", options.head_dim}}, 0, kNorm);
    key_norm_ = &registry.add_dense(
        {{layer_name + ".self_attn.k_norm.weight", options.head_dim}}, 0, kNorm);
  }
}

void AttentionBlock::forward(BlockState& state, int /*phase*/) {
  Saved local;
  Saved& saved = state.context.training ? state.saved<Saved>(index_) : local;
  saved.hidden = state.hidden;
  auto [normed, rstd] = ops::rms_norm(state.hidden, norm_.value, options_.rms_norm_eps);
  saved.normed = normed;
  saved.rstd = rstd;
  saved.qkv = ops::linear(normed, qkv_.value, value_of(bias_));
  prepare_heads(saved.qkv, state, saved);
  saved.attention = ops::attention(saved.qkv,
                                   state.layout,
                                   options_.num_attention_heads,
                                   options_.num_key_value_heads,
                                   options_.head_dim);
  state.hidden =
      ops::linear(saved.attention.out, out_.value, value_of(out_bias_)).add_(state.hidden);
}

void AttentionBlock::backward(BlockState& state, int /*phase*/) {
  Saved& saved = state.saved<Saved>(index_);
  const at::Tensor& grad = state.grad_hidden;
  ops::linear_backward_weight(grad, saved.attention.out, out_.grad, grad_of(out_bias_));
  at::Tensor grad_qkv = ops::attention_backward(ops::linear_backward_input(grad, out_.value),
                                                saved.qkv,
                                                saved.attention,
                                                state.layout,
                                                options_.num_attention_heads,
                                                options_.num_key_value_heads,
                                                options_.head_dim);
  prepare_heads_backward(grad_qkv, saved);
  ops::linear_backward_weight(grad_qkv, saved.normed, qkv_.grad, grad_of(bias_));
  at::Tensor norm_grad = norm_.grad;
  state.grad_hidden = ops::rms_norm_backward(ops::linear_backward_input(grad_qkv, qkv_.value),
                                             saved.hidden,
                                             norm_.value,
                                             saved.rstd,
                                             norm_grad)
                          .add_(grad);
  state.release(index_);
}

void AttentionBlock::prepare_heads(at::Tensor& qkv, const BlockState& state, Saved& saved) const {
  const int64_t dim = options_.head_dim;
  saved.rotary = ops::rotary_table(state.layout, dim, options_.rope_theta, qkv.scalar_type());
  if (query_norm_ != nullptr) {
    const auto normalize = [&](int64_t first,
                               int64_t width,
                               const at::Tensor& weight,
                               at::Tensor& raw,
                               at::Tensor& rstd) {
      at::Tensor heads = qkv.narrow(1, first, width);
      raw = heads.reshape({-1, dim}).contiguous();
      auto [normed, inverse] = ops::rms_norm(raw, weight, options_.rms_norm_eps);
      rstd = inverse;
      heads.copy_(normed.view({-1, width}));
    };
    normalize(0, query_width(), query_norm_->value, saved.raw_queries, saved.query_rstd);
    normalize(query_width(), key_width(), key_norm_->value, saved.raw_keys, saved.key_rstd);
  }
  ops::rotate(qkv.narrow(1, 0, query_width() + key_width()),
              saved.rotary,
              options_.num_attention_heads + options_.num_key_value_heads);
}

void AttentionBlock::prepare_heads_backward(at::Tensor& grad_qkv, const Saved& saved) const {
  ops::rotate(grad_qkv.narrow(1, 0, query_width() + key_width()),
              saved.rotary,
              options_.num_attention_heads + options_.num_key_value_heads,
              /*inverse=*/true);
  if (query_norm_ == nullptr) {
    return;
  }
  const auto denormalize = [&](int64_t first,
                               int64_t width,
                               const DenseParameter& norm,
                               const at::Tensor& raw,
                               const at::Tensor& rstd) {
    at::Tensor heads = grad_qkv.narrow(1, first, width);
    at::Tensor weight_grad = norm.grad;
    const at::Tensor grad = ops::rms_norm_backward(
        heads.reshape({-1, options_.head_dim}).contiguous(), raw, norm.value, rstd, weight_grad);
    heads.copy_(grad.view({-1, width}));
  };
  denormalize(0, query_width(), *query_norm_, saved.raw_queries, saved.query_rstd);
  denormalize(query_width(), key_width(), *key_norm_, saved.raw_keys, saved.key_rstd);
}

}  // namespace enodia
