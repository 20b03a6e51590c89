#include "models/flops.h"

#include <vector>

#include <gtest/gtest.h>

namespace enodia {
namespace {

SequenceLayout segments(std::vector<int64_t> lengths) {
  return SequenceLayout::from_lengths(lengths);
}

ModelOptions small_model() {
  ModelOptions options;
  options.vocab_size = 100;
  options.hidden_size = 8;
  options.num_hidden_layers = 2;
  options.num_attention_heads = 3;
  options.num_key_value_heads = 1;
  options.head_dim = 4;
  options.intermediate_size = 32;
  options.moe_intermediate_size = 5;
  options.num_experts = 6;
  options.num_experts_per_tok = 2;
  options.num_shared_experts = 1;
  options.first_k_dense_replace = 1;
  return options;
}

TEST(Flops, CountTheMatricesThatATokenMeets) {
  const double attention = 12 * 8 + 4 * 8 + 4 * 8 + 8 * 12;  // q, k, v, o
  const double dense = 3 * 8 * 32;
  const double moe = 6 * 8 + (2 + 1) * 3 * 8 * 5;  // router; K experts and the shared one
  EXPECT_EQ(active_weights(small_model()), 2 * attention + dense + moe + 100 * 8);
}

TEST(Flops, CountTheMatricesOfLatentAttention) {
  ModelOptions options = small_model();
  options.attention = kLatentAttention;
  options.kv_lora_rank = 7;
  options.qk_nope_head_dim = 4;
  options.qk_rope_head_dim = 2;
  options.v_head_dim = 5;
  const double rest = active_weights(options) - 2 * (8 * 3 * 6 + 8 * 9 + 7 * 3 * 9 + 3 * 5 * 8);
  EXPECT_EQ(rest, 3 * 8 * 32 + (6 * 8 + 3 * 3 * 8 * 5) + 100 * 8);
  options.q_lora_rank = 11;  // queries of it
  EXPECT_EQ(active_weights(options) - rest,
            2 * (8 * 11 + 11 * 3 * 6 + 8 * 9 + 7 * 3 * 9 + 3 * 5 * 8));
  const SequenceLayout one = segments({1});
  EXPECT_EQ(training_flops(options, one), 6 * (active_weights(options) + 2 * 3 * (6 + 5)));
}

TEST(Flops, CountTheWidthAndGateOfASharedExpert) {
  ModelOptions wide = small_model();
  wide.shared_expert_intermediate_size = 9;
  wide.shared_expert_gate = true;
  EXPECT_EQ(active_weights(wide) - active_weights(small_model()), 3 * 8 * (9 - 5) + 8);
}

TEST(Flops, MoreExpertsCostOnlyTheirRouterRows) {
  ModelOptions more = small_model();
  more.num_experts += 10;
  EXPECT_EQ(active_weights(more) - active_weights(small_model()), 10 * 8);
}

/// The multiplications of the score and value products, one by one.
double attention_products(const ModelOptions& options, const SequenceLayout& layout) {
  double products = 0;
  for (int64_t query = 0; query < layout.num_tokens(); ++query) {
    for (int64_t key = 0; key <= query; ++key) {
      const bool seen = layout.documents[query] == layout.documents[key];
      products += seen ? static_cast<double>(2 * options.head_dim) : 0.0;
    }
  }
  return products * static_cast<double>(options.num_attention_heads * options.num_hidden_layers);
}

TEST(Flops, AttentionCountsThePairsThatSeeEachOther) {
  const ModelOptions options = small_model();
  for (const auto& lengths : {std::vector<int64_t>{7}, {3, 4}, {1, 1, 5}, {}}) {
    const SequenceLayout layout = segments(lengths);
    const double dense = active_weights(options) * static_cast<double>(layout.num_tokens());
    EXPECT_EQ(training_flops(options, layout), 6 * (dense + attention_products(options, layout)));
  }
}

TEST(Flops, LargeModelsDoNotOverflow) {
  ModelOptions options = small_model();
  options.hidden_size = options.moe_intermediate_size = int64_t{1} << 24;
  options.num_experts = options.num_experts_per_tok = options.num_hidden_layers = 1 << 16;
  EXPECT_GT(active_weights(options), 3e24);
}

TEST(Flops, PartsOfForwardAreAThirdOfTraining) {
  const ModelOptions options = small_model();
  const SequenceLayout layout = segments({3, 4});
  const ForwardFlops flops = forward_flops(options, layout);
  EXPECT_EQ(flops.token_copy, 2 * 3 * 8 * 5);
  EXPECT_EQ(flops.every_token, 2 * 7 * (6 * 8 + 3 * 8 * 5));
  EXPECT_EQ(flops.attention, 2 * (7 * (12 * 8 + 4 * 8 + 4 * 8 + 8 * 12) + 2 * 3 * 4 * (6 + 10)));
  const double layers =
      2 * flops.attention + flops.feed_forward + flops.every_token + 7 * 2 * flops.token_copy;
  EXPECT_EQ(3 * (layers + flops.head), training_flops(options, layout));
}

}  // namespace
}  // namespace enodia
