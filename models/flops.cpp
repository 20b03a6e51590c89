#include "models/flops.h"

namespace enodia {
namespace {

/// A multiplication and an addition, once forward and twice backward (at the input, at the weight).
constexpr double kFlopsPerProduct = 6.0;

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

}  // namespace

// In double throughout: products of three sizes pass 2^63.
double active_weights(const ModelOptions& options) {
  const auto width = static_cast<double>(options.hidden_size);
  const double attention = attention_weights(options);
  const double dense = 3 * width * static_cast<double>(options.intermediate_size);
  const double expert_widths = static_cast<double>(options.num_experts_per_tok) *
                                   static_cast<double>(options.moe_intermediate_size) +
                               static_cast<double>(options.shared_width());
  const double moe = width * static_cast<double>(options.num_experts) + 3 * width * expert_widths +
                     (options.shared_expert_gate ? width : 0);
  double weights = width * static_cast<double>(options.vocab_size);
  for (int64_t layer = 0; layer < options.num_hidden_layers; ++layer) {
    weights += attention + (options.is_moe_layer(layer) ? moe : dense);
  }
  return weights;
}

double training_flops(const ModelOptions& options, const SequenceLayout& layout) {
  // Two products for each pair and head: with the key, and with the value.
  const double products_of_pair =
      static_cast<double>(options.num_attention_heads * (options.key_dim() + options.value_dim())) *
      static_cast<double>(options.num_hidden_layers);
  const double products = active_weights(options) * static_cast<double>(layout.num_tokens()) +
                          products_of_pair * causal_pairs(layout);
  return kFlopsPerProduct * products;
}

}  // namespace enodia
