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

}  // namespace

// In double throughout: products of three sizes pass 2^63.
double active_weights(const ModelOptions& options) {
  const auto width = static_cast<double>(options.hidden_size);
  const auto head_dim = static_cast<double>(options.head_dim);
  const auto query_width = static_cast<double>(options.num_attention_heads) * head_dim;
  const auto key_width = static_cast<double>(options.num_key_value_heads) * head_dim;
  const double attention = width * (query_width + 2 * key_width) + query_width * width;
  const double dense = 3 * width * static_cast<double>(options.intermediate_size);
  const auto experts =
      static_cast<double>(options.num_experts_per_tok + options.num_shared_experts);
  const double moe = width * static_cast<double>(options.num_experts) +
                     experts * 3 * width * static_cast<double>(options.moe_intermediate_size);
  double weights = width * static_cast<double>(options.vocab_size);
  for (int64_t layer = 0; layer < options.num_hidden_layers; ++layer) {
    weights += attention + (options.is_moe_layer(layer) ? moe : dense);
  }
  return weights;
}

double training_flops(const ModelOptions& options, const SequenceLayout& layout) {
  const auto heads_width = static_cast<double>(options.num_attention_heads * options.head_dim);
  // Two products of width d for each pair and head: with the key, and with the value.
  const double products_of_pair =
      2.0 * heads_width * static_cast<double>(options.num_hidden_layers);
  const double products = active_weights(options) * static_cast<double>(layout.num_tokens()) +
                          products_of_pair * causal_pairs(layout);
  return kFlopsPerProduct * products;
}

}  // namespace enodia
