#include "models/mla_block.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

namespace enodia {

namespace {

constexpr DenseOptions kNorm{.decays = false, .initializer = Initializer::kOnes, .wide = true};
constexpr DenseOptions kBias{.decays = false, .initializer = Initializer::kZeros};
/// Of the latents' norms in every DeepSeek model, whatever its rms_norm_eps.
constexpr double kLatentEps = 1e-6;

Slice widened(const Slice& heads, int64_t width) {
  return {heads.first * width, heads.count * width};
}
at::Tensor value_of(const DenseParameter* bias) {
  return bias != nullptr ? bias->value : at::Tensor();
}
at::Tensor grad_of(const DenseParameter* bias) {
  return bias != nullptr ? bias->grad : at::Tensor();
}

/// sqrt(dim) of the kernels over sqrt(key_dim) of the mathematics.
double scale_of_queries(const ModelOptions& options, int64_t dim) {
  return std::sqrt(static_cast<double>(dim) / static_cast<double>(options.key_dim())) *
         latent_score_factor(options);
}

/// [T, heads, d] -> [T, heads d] in memory of their own: a reshape alone may share it, with one
/// head or one token.
at::Tensor own_columns(const at::Tensor& x) {
  return x.clone(at::MemoryFormat::Contiguous).view({x.size(0), x.size(1) * x.size(2)});
}

}  // namespace

struct MlaBlock::Saved : SavedState {
  at::Tensor hidden, normed, rstd;
  at::Tensor raw_query_latent, query_latent_rstd, raw_latent, latent_rstd;  // before their norms
  at::Tensor latents;                                                       // own, [Tr, S]
  ops::RotaryTable rotary;
  at::Tensor qkv;
  ops::AttentionResult attention;
};

MlaBlock::MlaBlock(const ModelOptions& options,
                   const std::string& layer_name,
                   int index,
                   ParameterRegistry& registry)
    : options_(options),
      index_(index),
      heads_(registry.place().share(options.num_attention_heads)),
      dim_(std::max(options.key_dim(), options.value_dim())),
      query_scale_(scale_of_queries(options, dim_)),
      norm_(registry.add_dense(
          {{layer_name + ".input_layernorm.weight", options.hidden_size}}, 0, kNorm)) {
  const std::string name = layer_name + ".self_attn";
  const int64_t heads = options.num_attention_heads;
  add_latents(name, registry);
  const auto add_heads = [&](const char* matrix, int64_t width, int64_t columns) {
    return &registry.add_dense({{name + matrix, heads * width, widened(heads_, width)}},
                               columns,
                               {.holders = Holders::kData});
  };
  query_ = add_heads(has_query_latent() ? ".q_b_proj.weight" : ".q_proj.weight",
                     options.key_dim(),
                     source_width());
  key_value_ = add_heads(
      ".kv_b_proj.weight", options.qk_nope_head_dim + options.v_head_dim, options.kv_lora_rank);
  out_ = &registry.add_dense(
      {{name + ".o_proj.weight", options.hidden_size}},
      heads * options.v_head_dim,
      {.holders = Holders::kData, .held_columns = widened(heads_, options.v_head_dim)});
  if (options.attention_output_bias) {
    out_bias_ = &registry.add_dense({{name + ".o_proj.bias", options.hidden_size}}, 0, kBias);
  }
}

void MlaBlock::add_latents(const std::string& name, ParameterRegistry& registry) {
  const auto add = [&](const std::string& projection,
                       int64_t rows,
                       const DenseParameter*& weight,
                       const DenseParameter*& bias) {
    weight = &registry.add_dense({{name + projection + ".weight", rows}}, options_.hidden_size);
    if (options_.attention_bias) {
      bias = &registry.add_dense({{name + projection + ".bias", rows}}, 0, kBias);
    }
  };
  if (has_query_latent()) {
    add(".q_a_proj", options_.q_lora_rank, query_latent_, query_latent_bias_);
    query_latent_norm_ =
        &registry.add_dense({{name + ".q_a_layernorm.weight", options_.q_lora_rank}}, 0, kNorm);
  }
  add(".kv_a_proj_with_mqa",
      options_.kv_lora_rank + options_.qk_rope_head_dim,
      latent_,
      latent_bias_);
  latent_norm_ =
      &registry.add_dense({{name + ".kv_a_layernorm.weight", options_.kv_lora_rank}}, 0, kNorm);
}

at::Tensor MlaBlock::make_latents(const at::Tensor& normed, Saved& saved) const {
  at::Tensor source = normed;
  if (has_query_latent()) {
    saved.raw_query_latent =
        ops::linear(normed, query_latent_->value, value_of(query_latent_bias_));
    const auto query = ops::rms_norm(saved.raw_query_latent, query_latent_norm_->value, kLatentEps);
    saved.query_latent_rstd = query.rstd;
    source = query.y;
  }
  const at::Tensor projected = ops::linear(normed, latent_->value, value_of(latent_bias_));
  saved.raw_latent = projected.narrow(1, 0, options_.kv_lora_rank).contiguous();
  const auto latent = ops::rms_norm(saved.raw_latent, latent_norm_->value, kLatentEps);
  saved.latent_rstd = latent.rstd;
  return at::cat(
      {source, latent.y, projected.narrow(1, options_.kv_lora_rank, options_.qk_rope_head_dim)}, 1);
}

at::Tensor MlaBlock::latents_backward(const at::Tensor& grad_latents, const Saved& saved) const {
  const int64_t rank = options_.kv_lora_rank;
  at::Tensor norm_grad = latent_norm_->grad;
  const at::Tensor grad_latent =
      ops::rms_norm_backward(grad_latents.narrow(1, source_width(), rank).contiguous(),
                             saved.raw_latent,
                             latent_norm_->value,
                             saved.latent_rstd,
                             norm_grad);
  const at::Tensor grad_projected = at::cat(
      {grad_latent, grad_latents.narrow(1, source_width() + rank, options_.qk_rope_head_dim)}, 1);
  ops::linear_backward_weight(grad_projected, saved.normed, latent_->grad, grad_of(latent_bias_));
  at::Tensor grad_normed = ops::linear_backward_input(grad_projected, latent_->value);
  const at::Tensor grad_source = grad_latents.narrow(1, 0, source_width()).contiguous();
  if (!has_query_latent()) {
    return grad_normed.add_(grad_source);
  }
  at::Tensor query_norm_grad = query_latent_norm_->grad;
  const at::Tensor grad_query = ops::rms_norm_backward(grad_source,
                                                       saved.raw_query_latent,
                                                       query_latent_norm_->value,
                                                       saved.query_latent_rstd,
                                                       query_norm_grad);
  ops::linear_backward_weight(
      grad_query, saved.normed, query_latent_->grad, grad_of(query_latent_bias_));
  return grad_normed.add_(ops::linear_backward_input(grad_query, query_latent_->value));
}

at::Tensor MlaBlock::make_heads(const at::Tensor& latents,
                                const BlockState& state,
                                Saved& saved) const {
  const int64_t tokens = latents.size(0);
  const int64_t heads = heads_.count;
  const int64_t nope = options_.qk_nope_head_dim;
  const int64_t rope = options_.qk_rope_head_dim;
  const int64_t values = options_.v_head_dim;
  const at::Tensor query =
      ops::linear(source_of(latents), query_->value).view({tokens, heads, nope + rope});
  const at::Tensor key_value =
      ops::linear(latent_of(latents), key_value_->value).view({tokens, heads, nope + values});
  const at::Tensor query_rope = own_columns(query.narrow(2, nope, rope));
  const at::Tensor key_rope =
      latents.narrow(1, shared_width() - rope, rope).clone(at::MemoryFormat::Contiguous);
  saved.rotary = ops::rotary_table(state.layout, rotary_of(options_), latents.options());
  ops::rotate(query_rope, saved.rotary, heads);
  ops::rotate(key_rope, saved.rotary, 1);

  const at::Tensor qkv = at::zeros({tokens, 3, heads, dim_}, latents.options());
  at::Tensor q = qkv.select(1, 0);
  const at::Tensor k = qkv.select(1, 1);
  q.narrow(2, 0, nope).copy_(query.narrow(2, 0, nope));
  q.narrow(2, nope, rope).copy_(query_rope.view({tokens, heads, rope}));
  q.mul_(query_scale_);
  k.narrow(2, 0, nope).copy_(key_value.narrow(2, 0, nope));
  k.narrow(2, nope, rope).copy_(key_rope.unsqueeze(1));
  qkv.select(1, 2).narrow(2, 0, values).copy_(key_value.narrow(2, nope, values));
  return qkv.view({tokens, 3 * heads * dim_});
}

at::Tensor MlaBlock::heads_backward(const at::Tensor& grad_qkv,
                                    const at::Tensor& latents,
                                    const Saved& saved) const {
  const int64_t tokens = latents.size(0);
  const int64_t heads = heads_.count;
  const int64_t nope = options_.qk_nope_head_dim;
  const int64_t rope = options_.qk_rope_head_dim;
  const at::Tensor grads = grad_qkv.view({tokens, 3, heads, dim_});
  const at::Tensor grad_query =
      (grads.select(1, 0).narrow(2, 0, nope + rope) * query_scale_).contiguous();
  const at::Tensor query_rope = own_columns(grad_query.narrow(2, nope, rope));
  ops::rotate(query_rope, saved.rotary, heads, /*inverse=*/true);
  grad_query.narrow(2, nope, rope).copy_(query_rope.view({tokens, heads, rope}));
  const at::Tensor grad_key = grads.select(1, 1);
  const at::Tensor key_rope = grad_key.narrow(2, nope, rope).sum(1);
  ops::rotate(key_rope, saved.rotary, 1, /*inverse=*/true);
  const at::Tensor grad_key_value = at::cat(
      {grad_key.narrow(2, 0, nope), grads.select(1, 2).narrow(2, 0, options_.v_head_dim)}, 2);

  const at::Tensor query_rows = grad_query.view({tokens, heads * (nope + rope)});
  const at::Tensor key_value_rows =
      grad_key_value.view({tokens, heads * (nope + options_.v_head_dim)});
  ops::linear_backward_weight(query_rows, source_of(latents), query_->grad);
  ops::linear_backward_weight(key_value_rows, latent_of(latents), key_value_->grad);
  return at::cat({ops::linear_backward_input(query_rows, query_->value),
                  ops::linear_backward_input(key_value_rows, key_value_->value),
                  key_rope},
                 1);
}

at::Tensor MlaBlock::source_of(const at::Tensor& latents) const {
  return latents.narrow(1, 0, source_width()).contiguous();
}

at::Tensor MlaBlock::latent_of(const at::Tensor& latents) const {
  return latents.narrow(1, source_width(), options_.kv_lora_rank).contiguous();
}

/// [T, heads d] -> [T, heads v_head_dim] without what fills up the values, or back.
at::Tensor MlaBlock::without_filling(const at::Tensor& out) const {
  const int64_t values = options_.v_head_dim;
  return out.view({out.size(0), heads_.count, dim_})
      .narrow(2, 0, values)
      .reshape({out.size(0), heads_.count * values});
}

at::Tensor MlaBlock::with_filling(const at::Tensor& grad) const {
  const at::Tensor filled = at::zeros({grad.size(0), heads_.count, dim_}, grad.options());
  filled.narrow(2, 0, options_.v_head_dim)
      .copy_(grad.view({grad.size(0), heads_.count, options_.v_head_dim}));
  return filled.view({grad.size(0), heads_.count * dim_});
}

void MlaBlock::attend(const BlockState& state, Saved& saved) const {
  auto [normed, rstd] = ops::rms_norm(saved.hidden, norm_.value, options_.rms_norm_eps);
  saved.normed = normed;
  saved.rstd = rstd;
  saved.latents = make_latents(normed, saved);
  saved.qkv = make_heads(state.cut.gather(saved.latents), state, saved);
  if (heads_.count > 0) {
    saved.attention = ops::attention(saved.qkv, state.layout, heads_.count, heads_.count, dim_);
  } else {
    saved.attention.out = saved.qkv;  // no columns either
  }
}

void MlaBlock::forget(BlockState& state) {
  const at::Tensor hidden = state.saved<Saved>(index_).hidden;
  state.renew<Saved>(index_).hidden = hidden;
}

void MlaBlock::recompute(BlockState& state, int /*phase*/) {
  attend(state, state.saved<Saved>(index_));
}

void MlaBlock::forward(BlockState& state, int /*phase*/) {
  Saved local;
  Saved& saved = state.context.training ? state.saved<Saved>(index_) : local;
  saved.hidden = state.hidden;
  attend(state, saved);
  at::Tensor out =
      state.cut.reduce_scatter(ops::linear(without_filling(saved.attention.out), out_->value));
  if (out_bias_ != nullptr) {
    out.add_(out_bias_->value);
  }
  state.hidden = out.add_(state.hidden);
}

void MlaBlock::backward(BlockState& state, int /*phase*/) {
  Saved& saved = state.saved<Saved>(index_);
  if (out_bias_ != nullptr) {
    ops::add_column_sums(out_bias_->grad, state.grad_hidden);
  }
  const at::Tensor grad = state.cut.gather(state.grad_hidden);
  ops::linear_backward_weight(grad, without_filling(saved.attention.out), out_->grad);
  const at::Tensor grad_out = with_filling(ops::linear_backward_input(grad, out_->value));
  const at::Tensor grad_qkv = heads_.count == 0 ? grad_out
                                                : ops::attention_backward(grad_out,
                                                                          saved.qkv,
                                                                          saved.attention,
                                                                          state.layout,
                                                                          heads_.count,
                                                                          heads_.count,
                                                                          dim_);
  const at::Tensor grad_latents =
      state.cut.reduce_scatter(heads_backward(grad_qkv, state.cut.gather(saved.latents), saved));
  at::Tensor norm_grad = norm_.grad;
  state.grad_hidden =
      ops::rms_norm_backward(
          latents_backward(grad_latents, saved), saved.hidden, norm_.value, saved.rstd, norm_grad)
          .add_(state.grad_hidden);
  state.release(index_);
}

}  // namespace enodia
