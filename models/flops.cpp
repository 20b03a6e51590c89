#include "models/flops.h"

namespace enodia {
namespace {

/// A multiplication and an addition.
constexpr double kFlopsPerProduct = 2.0;

/// Pairs of a query and a key that it sees.
double causal_pairs(const SequenceLayout& layout) {
  double pairs = 0;
  for (size_t segment = 1; segment < layout.cu_seqlens.size(); ++segment) {
    const double length = layout.cu_seqlens[segment] - layout.cu_seqlens[segment - 1];
    pairs += length * (length + 1) / 2;
  }
  return pairs;
}

double attention_weights(const ModelOptions& options) {
  const auto width = static_cast<double>(options.hidden_size);
  const auto heads = static_cast<double>(options.num_attention_heads);
  const double query_width = heads * static_cast<double>(options.key_dim());
  const double out = heads * static_cast<double>(options.value_dim()) * width;
  if (!options.is_latent()) {
    const double key_width =
        static_cast<double>(options.num_key_value_heads) * static_cast<double>(options.head_dim);
    return width * (query_width + 2 * key_width) + out;
  }
  const auto query_rank = static_cast<double>(options.q_lora_rank);
  const auto rank = static_cast<double>(options.kv_lora_rank);
  const double query = query_rank > 0 ? query_rank * (width + query_width) : width * query_width;
  return query + width * (rank + static_cast<double>(options.qk_rope_head_dim)) +
         rank * heads * static_cast<double>(options.qk_nope_head_dim + options.v_head_dim) + out;
}

double expert_weights(const ModelOptions& options) {
  return 3 * static_cast<double>(options.hidden_size) *
         static_cast<double>(options.moe_intermediate_size);
}

/// Of one MoE layer, what every token is multiplied with.
double common_weights(const ModelOptions& options) {
  const auto width = static_cast<double>(options.hidden_size);
  return width * static_cast<double>(options.num_experts) +
         3 * width * static_cast<double>(options.shared_width()) +
         (options.shared_expert_gate ? width : 0);
}

double dense_weights(const ModelOptions& options) {
  return 3 * static_cast<double>(options.hidden_size) *
         static_cast<double>(options.intermediate_size);
}

double head_weights(const ModelOptions& options) {
  return static_cast<double>(options.hidden_size) * static_cast<double>(options.vocab_size);
}

}  // namespace

// In double throughout: products of three sizes pass 2^63.
double active_weights(const ModelOptions& options) {
  const double moe = common_weights(options) +
                     static_cast<double>(options.num_experts_per_tok) * expert_weights(options);
  double weights = head_weights(options);
  for (int64_t layer = 0; layer < options.num_hidden_layers; ++layer) {
    weights +=
        attention_weights(options) + (options.is_moe_layer(layer) ? moe : dense_weights(options));
  }
  return weights;
}

ForwardFlops forward_flops(const ModelOptions& options, const SequenceLayout& layout) {
  const auto tokens = static_cast<double>(layout.num_tokens());
  // Two products for each pair and head: with the key, and with the value.
  const auto products_of_pair =
      static_cast<double>(options.num_attention_heads * (options.key_dim() + options.value_dim()));
  ForwardFlops flops;
  flops.attention = kFlopsPerProduct *
                    (attention_weights(options) * tokens + products_of_pair * causal_pairs(layout));
  flops.feed_forward = kFlopsPerProduct * dense_weights(options) * tokens;
  flops.every_token = kFlopsPerProduct * common_weights(options) * tokens;
  flops.token_copy = kFlopsPerProduct * expert_weights(options);
  flops.head = kFlopsPerProduct * head_weights(options) * tokens;
  return flops;
}

double training_flops(const ModelOptions& options, const SequenceLayout& layout) {
  const ForwardFlops flops = forward_flops(options, layout);
  const auto copies = static_cast<double>(layout.num_tokens() * options.num_experts_per_tok);
  double forward = flops.head;
  for (int64_t layer = 0; layer < options.num_hidden_layers; ++layer) {
    forward += flops.attention + (options.is_moe_layer(layer)
                                      ? flops.every_token + copies * flops.token_copy
                                      : flops.feed_forward);
  }
  return (1 + kBackwardOverForward) * forward;
}

}  // namespace enodia
