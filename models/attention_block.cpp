#include "models/attention_block.h"

#include <ATen/ops/cat.h>

#include "models/ops.h"

namespace enodia {

namespace {

constexpr DenseOptions kNorm{.decays = false, .initializer = Initializer::kOnes, .wide = true};
constexpr DenseOptions kBias{.decays = false, .initializer = Initializer::kZeros};

/// The columns or rows of these heads.
Slice widened(const Slice& heads, int64_t head_dim) {
  return {heads.first * head_dim, heads.count * head_dim};
}

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
  QkNorm::Saved queries, keys;
  ops::RotaryTable rotary;
  ops::AttentionResult attention;
};

AttentionBlock::AttentionBlock(const ModelOptions& options,
                               const std::string& layer_name,
                               int index,
                               ParameterRegistry& registry)
    : options_(options),
      index_(index),
      heads_(registry.place().heads(options.num_attention_heads, options.num_key_value_heads)),
      norm_(registry.add_dense(
          {{layer_name + ".input_layernorm.weight", options.hidden_size}}, 0, kNorm)),
      out_(registry.add_dense(
          {{layer_name + ".self_attn.o_proj.weight", options.hidden_size}},
          options.num_attention_heads * options.head_dim,
          {.holders = Holders::kData, .held_columns = widened(heads_.query, options.head_dim)})) {
  add_projections(layer_name + ".self_attn", registry);
  if (options.attention_output_bias) {
    out_bias_ = &registry.add_dense(
        {{layer_name + ".self_attn.o_proj.bias", options.hidden_size}}, 0, kBias);
  }
  if (options.use_qk_norm) {
    const QkNorm::Heads queries{
        options.num_attention_heads, heads_.query, Holders::kData, /*is_first_holder=*/true};
    const QkNorm::Heads keys{options.num_key_value_heads,
                             heads_.key_value,
                             Holders::kHeads,
                             registry.place().tensor_rank == heads_.first_holder};
    query_norm_.emplace(options, layer_name + ".self_attn.q_norm.weight", queries, registry);
    key_norm_.emplace(options, layer_name + ".self_attn.k_norm.weight", keys, registry);
  }
}

/// What the same ranks hold is one matrix.
void AttentionBlock::add_projections(const std::string& name, ParameterRegistry& registry) {
  const int64_t dim = options_.head_dim;
  const auto add = [&](const std::vector<const char*>& letters, Holders holders) {
    std::vector<StackMember> weights;
    std::vector<StackMember> biases;
    for (const char* letter : letters) {
      const bool is_query = *letter == 'q';
      const int64_t rows =
          dim * (is_query ? options_.num_attention_heads : options_.num_key_value_heads);
      const Slice held = widened(is_query ? heads_.query : heads_.key_value, dim);
      weights.emplace_back(name + "." + letter + "_proj.weight", rows, held);
      biases.emplace_back(name + "." + letter + "_proj.bias", rows, held);
    }
    const DenseParameter& weight =
        registry.add_dense(weights, options_.hidden_size, {.holders = holders});
    DenseOptions bias = kBias;
    bias.holders = holders;
    projections_.push_back(
        {&weight, options_.attention_bias ? &registry.add_dense(biases, 0, bias) : nullptr});
  };
  if (registry.place().canonical_of(Holders::kHeads) == Holders::kHeads) {
    add({"q"}, Holders::kData);
    add({"k", "v"}, Holders::kHeads);
  } else {
    add({"q", "k", "v"}, Holders::kData);
  }
}

at::Tensor AttentionBlock::project(const at::Tensor& normed) const {
  std::vector<at::Tensor> parts;
  for (const Projection& projection : projections_) {
    parts.push_back(ops::linear(normed, projection.weight->value, value_of(projection.bias)));
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

at::Tensor AttentionBlock::project_backward(const at::Tensor& grad_qkv,
                                            const at::Tensor& normed) const {
  at::Tensor sum;
  int64_t first = 0;
  for (const Projection& projection : projections_) {
    const int64_t width = projection.weight->value.size(0);
    const at::Tensor grad = grad_qkv.narrow(1, first, width).contiguous();
    ops::linear_backward_weight(grad, normed, projection.weight->grad, grad_of(projection.bias));
    const at::Tensor grad_normed = ops::linear_backward_input(grad, projection.weight->value);
    sum = sum.defined() ? sum.add_(grad_normed) : grad_normed;
    first += width;
  }
  return sum;
}

void AttentionBlock::attend(const BlockState& state, Saved& saved) const {
  auto [normed, rstd] = ops::rms_norm(saved.hidden, norm_.value, options_.rms_norm_eps);
  saved.normed = normed;
  saved.rstd = rstd;
  saved.qkv = project(state.cut.gather(normed));
  prepare_heads(saved.qkv, state, saved);
  saved.attention = ops::attention(
      saved.qkv, state.layout, heads_.query.count, heads_.key_value.count, options_.head_dim);
}

void AttentionBlock::forget(BlockState& state) {
  const at::Tensor hidden = state.saved<Saved>(index_).hidden;
  state.renew<Saved>(index_).hidden = hidden;
}

void AttentionBlock::recompute(BlockState& state, int /*phase*/) {
  attend(state, state.saved<Saved>(index_));
}

void AttentionBlock::forward(BlockState& state, int /*phase*/) {
  Saved local;
  Saved& saved = state.context.training ? state.saved<Saved>(index_) : local;
  saved.hidden = state.hidden;
  attend(state, saved);
  at::Tensor out = state.cut.reduce_scatter(ops::linear(saved.attention.out, out_.value));
  if (out_bias_ != nullptr) {
    out.add_(out_bias_->value);
  }
  state.hidden = out.add_(state.hidden);
}

void AttentionBlock::backward(BlockState& state, int /*phase*/) {
  Saved& saved = state.saved<Saved>(index_);
  const at::Tensor grad = state.cut.gather(state.grad_hidden);
  if (out_bias_ != nullptr) {
    ops::add_column_sums(out_bias_->grad, state.grad_hidden);
  }
  ops::linear_backward_weight(grad, saved.attention.out, out_.grad);
  at::Tensor grad_qkv = ops::attention_backward(ops::linear_backward_input(grad, out_.value),
                                                saved.qkv,
                                                saved.attention,
                                                state.layout,
                                                heads_.query.count,
                                                heads_.key_value.count,
                                                options_.head_dim);
  prepare_heads_backward(grad_qkv, state, saved);
  const at::Tensor grad_normed =
      state.cut.reduce_scatter(project_backward(grad_qkv, state.cut.gather(saved.normed)));
  at::Tensor norm_grad = norm_.grad;
  state.grad_hidden =
      ops::rms_norm_backward(grad_normed, saved.hidden, norm_.value, saved.rstd, norm_grad)
          .add_(state.grad_hidden);
  state.release(index_);
}

void AttentionBlock::rotate(const at::Tensor& qkv, const Saved& saved, bool inverse) const {
  ops::rotate(qkv.narrow(1, 0, query_width() + key_width()),
              saved.rotary,
              heads_.query.count + heads_.key_value.count,
              inverse);
}

void AttentionBlock::prepare_heads(at::Tensor& qkv, const BlockState& state, Saved& saved) const {
  saved.rotary = ops::rotary_table(state.layout, rotary_of(options_), qkv.options());
  if (query_norm_) {
    query_norm_->forward(qkv.narrow(1, 0, query_width()), state.cut, saved.queries);
    key_norm_->forward(qkv.narrow(1, query_width(), key_width()), state.cut, saved.keys);
  }
  rotate(qkv, saved, /*inverse=*/false);
}

void AttentionBlock::prepare_heads_backward(at::Tensor& grad_qkv,
                                            const BlockState& state,
                                            const Saved& saved) const {
  rotate(grad_qkv, saved, /*inverse=*/true);
  if (query_norm_) {
    query_norm_->backward(grad_qkv.narrow(1, 0, query_width()), state.cut, saved.queries);
    key_norm_->backward(grad_qkv.narrow(1, query_width(), key_width()), state.cut, saved.keys);
  }
}

}  // namespace enodia
