#include "models/parameter_list.h"

#include <vector>

#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"
#include "models/decoder.h"

namespace enodia {
namespace {

ModelOptions small_model() {
  ModelOptions options;
  options.vocab_size = 11;
  options.hidden_size = 6;
  options.num_hidden_layers = 3;
  options.num_attention_heads = 3;
  options.num_key_value_heads = 1;
  options.head_dim = 4;
  options.intermediate_size = 7;
  options.moe_intermediate_size = 5;
  options.num_experts = 11;  // names sort as text: 10 before 2
  return options;
}

void expect_what_a_decoder_has(const ModelOptions& options) {
  run_loopback(1, [&](Communicator& world) {
    const ProcessMesh mesh(world, {.dp = 1, .ep = 1});
    const Decoder decoder(options, RouterOptions(), mesh);
    const std::vector<LogicalParameter>& held = decoder.registry().parameters();
    const std::vector<ParameterShape> listed = list_parameters(options);
    ASSERT_EQ(listed.size(), held.size());
    EXPECT_EQ(count_parameters(options), std::ssize(held));
    for (size_t i = 0; i < held.size(); ++i) {
      EXPECT_EQ(listed[i].name, held[i].name);
      EXPECT_EQ(listed[i].shape, held[i].shape) << held[i].name;
    }
  });
}

TEST(ParameterList, NamesWhatADecoderHas) {
  expect_what_a_decoder_has(small_model());
}

TEST(ParameterList, FollowsEveryOptionThatAddsOrRemovesParameters) {
  ModelOptions options = small_model();
  options.attention_bias = true;
  options.attention_output_bias = true;
  options.num_shared_experts = 2;
  options.first_k_dense_replace = 1;
  options.tie_word_embeddings = true;
  options.use_qk_norm = false;
  expect_what_a_decoder_has(options);
  options.num_experts = options.num_shared_experts = 0;
  expect_what_a_decoder_has(options);
  options = small_model();
  options.qk_norm = "full";
  options.num_shared_experts = 1;
  options.shared_expert_intermediate_size = 9;
  options.shared_expert_gate = true;
  options.use_expert_bias = true;
  expect_what_a_decoder_has(options);
}

TEST(ParameterList, IsCountedWithoutBeingListed) {
  ModelOptions options = small_model();
  options.num_hidden_layers = options.num_experts = int64_t{1} << 16;
  // Two norms, six of the attention and the router a layer; three matrices an expert.
  EXPECT_EQ(count_parameters(options), 3 + (int64_t{1} << 16) * (9 + 3 * (int64_t{1} << 16)));
}

TEST(ParameterList, KnowsLatentAttention) {
  ModelOptions options = small_model();
  options.attention = kLatentAttention;
  options.num_key_value_heads = options.num_attention_heads;
  options.use_qk_norm = false;
  expect_what_a_decoder_has(options);
  options.attention_bias = true;
  expect_what_a_decoder_has(options);
  options.q_lora_rank = 5;
  options.attention_output_bias = true;
  expect_what_a_decoder_has(options);
}

}  // namespace
}  // namespace enodia
