#include "tests/references/reference_model.h"

#include <cmath>
#include <random>
#include <stdexcept>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "tests/references/reference_problem.h"

namespace enodia {
namespace {

using at::Tensor;

// A dense layer and two MoE layers with everything switched on.
ReferenceOptions full_options() {
  ReferenceOptions options;
  options.vocab_size = 7;
  options.hidden_size = 6;
  options.num_hidden_layers = 3;
  options.num_attention_heads = 4;
  options.num_key_value_heads = 2;
  options.head_dim = 4;
  options.intermediate_size = 5;
  options.moe_intermediate_size = 3;
  options.num_experts = 4;
  options.num_experts_per_tok = 2;
  options.num_shared_experts = 2;
  options.first_k_dense_replace = 1;
  options.norm_topk_prob = false;
  options.routed_scaling_factor = 1.7;
  options.attention_bias = true;
  options.attention_output_bias = true;
  options.aux_loss_coef = 0.1;
  options.z_loss_coef = 0.05;
  return options;
}

// The other side of each switch of full_options.
ReferenceOptions plain_options() {
  ReferenceOptions options = full_options();
  options.num_hidden_layers = 2;
  options.num_key_value_heads = 4;
  options.num_shared_experts = 0;
  options.first_k_dense_replace = 0;
  options.norm_topk_prob = true;
  options.routed_scaling_factor = 1.0;
  options.attention_bias = false;
  options.attention_output_bias = false;
  options.use_qk_norm = false;
  options.tie_word_embeddings = true;
  return options;
}

// Multi-head latent attention with YaRN, and a gate of shared experts.
ReferenceOptions latent_options() {
  ReferenceOptions options = full_options();
  options.num_key_value_heads = 4;
  options.use_qk_norm = false;
  options.shared_expert_gate = true;
  options.latent_attention = true;
  options.q_lora_rank = 5;
  options.kv_lora_rank = 3;
  options.qk_nope_head_dim = 3;
  options.qk_rope_head_dim = 4;
  options.v_head_dim = 2;
  options.rope_interleave = true;
  options.yarn = true;
  options.yarn_factor = 4.0;
  options.yarn_original_length = 6.0;
  options.yarn_beta_fast = 2.0;
  options.yarn_beta_slow = 0.25;
  options.yarn_mscale_all_dim = 1.3;
  return options;
}

// Norms of all heads together, and half of each head rotated.
ReferenceOptions full_norm_options() {
  ReferenceOptions options = full_options();
  options.full_qk_norm = true;
  options.partial_rotary_factor = 0.5;
  options.shared_expert_intermediate_size = 7;
  options.num_shared_experts = 1;
  return options;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// A direction of length one.
Tensor random_direction(const Tensor& like, uint64_t seed) {
  std::mt19937_64 engine(seed);
  Tensor direction = at::zeros_like(like);
  double* value = direction.mutable_data_ptr<double>();
  for (int64_t i = 0; i < direction.numel(); ++i) {
    value[i] = static_cast<double>(engine() % 2001) / 1000.0 - 1.0;
  }
  return direction / direction.norm();
}

void expect_gradients_of_finite_differences(const ReferenceOptions& options, uint64_t seed) {
  const NamedTensors parameters = random_parameters(options, seed);
  const std::vector<ReferenceMicroBatch> batches = {random_micro_batch(options, {4, 3}, 1),
                                                    random_micro_batch(options, {5}, 2)};
  const ReferenceStep step = reference_step(options, parameters, batches);
  ASSERT_GT(step.smallest_margin, 1e-3) << "a finite step would change a choice of experts";
  const double h = 1e-5;
  for (const auto& [name, gradient] : step.gradients) {
    const Tensor direction = random_direction(gradient, seed + 1);
    NamedTensors ahead = parameters;
    NamedTensors behind = parameters;
    ahead[name] = parameters.at(name) + h * direction;
    behind[name] = parameters.at(name) - h * direction;
    const double slope = (reference_objective(options, ahead, batches) -
                          reference_objective(options, behind, batches)) /
                         (2.0 * h);
    const double expected = (gradient * direction).sum().item<double>();
    EXPECT_NEAR(slope, expected, 1e-6 * gradient.norm().item<double>() + 1e-10) << name;
  }
}

TEST(ReferenceModel, GradientsAreFiniteDifferencesWithEverythingOn) {
  expect_gradients_of_finite_differences(full_options(), 12);
}

TEST(ReferenceModel, GradientsAreFiniteDifferencesWithEverythingOff) {
  expect_gradients_of_finite_differences(plain_options(), 12);
}

TEST(ReferenceModel, GradientsAreFiniteDifferencesWithLatentAttention) {
  expect_gradients_of_finite_differences(latent_options(), 12);
}

TEST(ReferenceModel, GradientsAreFiniteDifferencesWithNormsOfAllHeads) {
  expect_gradients_of_finite_differences(full_norm_options(), 12);
}

// The scores of two tokens see only how far apart they are, and YaRN slows that down.
TEST(ReferenceModel, LatentAttentionHeedsOrderThroughItsRotatedPartAlone) {
  ReferenceOptions options = latent_options();
  options.num_hidden_layers = 1;
  NamedTensors parameters = random_parameters(options, 5);
  const ReferenceMicroBatch batch = random_micro_batch(options, {6}, 6);
  ReferenceMicroBatch swapped = batch;
  std::swap(swapped.tokens[1], swapped.tokens[3]);
  const auto last = [&](const ReferenceMicroBatch& given) {
    return reference_logits(options, parameters, given)[5];
  };
  EXPECT_GT(largest_difference(last(batch), last(swapped)), 1e-6);
  const int64_t rank = options.kv_lora_rank;
  const std::string latent = "model.layers.0.self_attn.kv_a_proj_with_mqa.";
  parameters.at(latent + "weight").slice(0, rank).zero_();
  parameters.at(latent + "bias").slice(0, rank).zero_();
  EXPECT_LT(largest_difference(last(batch), last(swapped)), 1e-13);
}

TEST(ReferenceModel, AModelThatKnowsNothingLosesLogV) {
  ReferenceOptions options = full_options();
  NamedTensors parameters = random_parameters(options, 3);
  parameters["lm_head.weight"].zero_();
  for (const int layer : {1, 2}) {
    parameters["model.layers." + std::to_string(layer) + ".mlp.gate.weight"].zero_();
  }
  const ReferenceStep step =
      reference_step(options, parameters, {random_micro_batch(options, {6, 4}, 4)});
  EXPECT_NEAR(step.loss, std::log(7.0), 1e-12);
  EXPECT_NEAR(step.aux_loss, 1.0, 1e-12);  // of a router with equal probabilities
  EXPECT_NEAR(step.z_loss, std::log(4.0) * std::log(4.0), 1e-12);
  EXPECT_NEAR(step.objective, step.loss + 2 * (0.1 * step.aux_loss + 0.05 * step.z_loss), 1e-12);
}

TEST(ReferenceModel, ALaterTokenDoesNotChangeEarlierLogits) {
  const ReferenceOptions options = full_options();
  const NamedTensors parameters = random_parameters(options, 5);
  ReferenceMicroBatch batch = random_micro_batch(options, {8}, 6);
  const Tensor before = reference_logits(options, parameters, batch);
  batch.tokens[5] = (batch.tokens[5] + 1) % options.vocab_size;
  const Tensor after = reference_logits(options, parameters, batch);
  EXPECT_LT(largest_difference(before.slice(0, 0, 5), after.slice(0, 0, 5)), 1e-13);
  for (int64_t t = 5; t < 8; ++t) {
    EXPECT_GT(largest_difference(before[t], after[t]), 1e-6) << t;
  }
}

TEST(ReferenceModel, DocumentsDoNotLeak) {
  const ReferenceOptions options = full_options();
  const NamedTensors parameters = random_parameters(options, 7);
  const ReferenceMicroBatch both = random_micro_batch(options, {3, 5}, 8);
  ReferenceMicroBatch second;
  second.tokens.assign(both.tokens.begin() + 3, both.tokens.end());
  second.labels.assign(both.labels.begin() + 3, both.labels.end());
  second.segment_lengths = {5};
  const Tensor together = reference_logits(options, parameters, both).slice(0, 3, 8);
  const Tensor alone = reference_logits(options, parameters, second);
  EXPECT_LT(largest_difference(together, alone), 1e-12);

  ReferenceMicroBatch joined = both;
  joined.segment_lengths = {8};
  const Tensor leaking = reference_logits(options, parameters, joined).slice(0, 3, 8);
  EXPECT_GT(largest_difference(leaking, alone), 1e-3);
}

// One head that copies normalized tokens through attention whose scores are sin(t - s) / 2: q is
// e_0 and k is e_2 at every token, which rotary embedding pairs when d is 4.
TEST(ReferenceModel, RotaryEmbeddingTurnsHalfSplitPairs) {
  ReferenceOptions options;
  options.vocab_size = options.hidden_size = options.head_dim = 4;
  options.num_hidden_layers = options.num_attention_heads = options.num_key_value_heads = 1;
  options.intermediate_size = 1;
  options.attention_bias = true;
  options.use_qk_norm = false;
  NamedTensors p;
  for (const auto& [name, shape] : reference_parameter_shapes(options)) {
    p[name] = at::zeros(shape, at::kDouble);
  }
  const std::string layer = "model.layers.0.";
  for (const std::string norm : {"input_layernorm", "post_attention_layernorm"}) {
    p[layer + norm + ".weight"].fill_(1.0);
  }
  p["model.norm.weight"].fill_(1.0);
  p["lm_head.weight"] = at::eye(4, at::kDouble);
  p["model.embed_tokens.weight"] = random_parameters(options, 9).at("model.embed_tokens.weight");
  p[layer + "self_attn.q_proj.bias"][0] = 1.0;
  p[layer + "self_attn.k_proj.bias"][2] = 1.0;
  p[layer + "self_attn.v_proj.weight"] = at::eye(4, at::kDouble);
  p[layer + "self_attn.o_proj.weight"] = at::eye(4, at::kDouble);

  const ReferenceMicroBatch batch{{2, 0, 3, 1}, {0, 3, 1, -1}, {4}};
  const Tensor logits = reference_logits(options, p, batch);
  const auto normalized = [](const Tensor& x) { return x / (x.square().mean() + 1e-6).sqrt(); };
  const Tensor& embedding = p["model.embed_tokens.weight"];
  for (int64_t t = 0; t < 4; ++t) {
    Tensor mixture = at::zeros({4}, at::kDouble);
    double total = 0.0;
    for (int64_t s = 0; s <= t; ++s) {
      const double weight = std::exp(std::sin(static_cast<double>(t - s)) / 2.0);
      mixture += weight * normalized(embedding[batch.tokens[s]]);
      total += weight;
    }
    const Tensor expected = normalized(embedding[batch.tokens[t]] + mixture / total);
    EXPECT_LT(largest_difference(logits[t], expected), 1e-12) << "token " << t;
  }
}

TEST(ReferenceModel, NeighboringQueryHeadsShareAKeyValueHead) {
  const ReferenceOptions grouped = full_options();
  ReferenceOptions single = grouped;
  single.num_key_value_heads = grouped.num_attention_heads;
  const NamedTensors parameters = random_parameters(grouped, 23);
  NamedTensors repeated = parameters;
  for (auto& [name, tensor] : repeated) {
    if (name.find("k_proj") != std::string::npos || name.find("v_proj") != std::string::npos) {
      const Tensor first = tensor.slice(0, 0, 4);
      const Tensor second = tensor.slice(0, 4, 8);
      tensor = at::cat({first, first, second, second}, 0);
    }
  }
  const ReferenceMicroBatch batch = random_micro_batch(grouped, {6}, 24);
  EXPECT_LT(largest_difference(reference_logits(grouped, parameters, batch),
                               reference_logits(single, repeated, batch)),
            1e-12);
}

TEST(ReferenceModel, AuxLossOfACollapsedRouterIsE) {
  ReferenceOptions options = plain_options();
  options.num_experts_per_tok = 1;
  NamedTensors parameters = random_parameters(options, 25);
  // Every token is the same vector to the router, which is as sure as can be of one expert.
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    parameters[layer + "self_attn.o_proj.weight"].zero_();
    parameters[layer + "mlp.gate.weight"] *= 1000.0;
  }
  ReferenceMicroBatch batch = random_micro_batch(options, {5}, 26);
  batch.tokens.assign(5, 3);
  const ReferenceStep step = reference_step(options, parameters, {batch});
  EXPECT_NEAR(step.aux_loss, 4.0, 1e-9);
}

TEST(ReferenceModel, TokensWithoutALabelDoNotCount) {
  const ReferenceOptions options = full_options();
  const NamedTensors parameters = random_parameters(options, 27);
  const ReferenceMicroBatch batch = random_micro_batch(options, {4, 3}, 28);
  ReferenceMicroBatch padded = batch;
  padded.segment_lengths.push_back(3);
  for (const int64_t token : {1, 5, 2}) {
    padded.tokens.push_back(token);
    padded.labels.push_back(-1);
  }
  const ReferenceStep expected = reference_step(options, parameters, {batch});
  const ReferenceStep step = reference_step(options, parameters, {padded});
  EXPECT_EQ(step.load, expected.load);
  EXPECT_NEAR(step.aux_loss, expected.aux_loss, 1e-12);
  EXPECT_NEAR(step.z_loss, expected.z_loss, 1e-12);
  for (const auto& [name, gradient] : expected.gradients) {
    EXPECT_LT(largest_difference(step.gradients.at(name), gradient), 1e-12) << name;
  }
}

TEST(ReferenceModel, EqualExpertsAreADenseLayer) {
  ReferenceOptions moe = plain_options();
  moe.intermediate_size = moe.moe_intermediate_size;
  ReferenceOptions dense = moe;
  dense.num_experts = 0;
  const NamedTensors dense_parameters = random_parameters(dense, 10);
  NamedTensors moe_parameters = random_parameters(moe, 10);
  for (auto& [name, tensor] : moe_parameters) {
    std::string twin = name;
    const size_t at = twin.find("experts.");
    if (at != std::string::npos) {
      twin.erase(at, std::string("experts.0.").size());
    }
    if (dense_parameters.count(twin) > 0) {
      tensor = dense_parameters.at(twin);
    }
  }
  const ReferenceMicroBatch batch = random_micro_batch(moe, {6}, 11);
  const Tensor expected = reference_logits(dense, dense_parameters, batch);
  EXPECT_LT(largest_difference(reference_logits(moe, moe_parameters, batch), expected), 1e-12);
  moe.norm_topk_prob = false;
  EXPECT_GT(largest_difference(reference_logits(moe, moe_parameters, batch), expected), 1e-3);
  moe.num_experts_per_tok = moe.num_experts;  // all probabilities sum to one by themselves
  EXPECT_LT(largest_difference(reference_logits(moe, moe_parameters, batch), expected), 1e-12);
  moe.routed_scaling_factor = 2.0;
  EXPECT_GT(largest_difference(reference_logits(moe, moe_parameters, batch), expected), 1e-3);
}

TEST(ReferenceModel, OfEquallyProbableExpertsTheSmallerIdIsChosen) {
  const ReferenceOptions options = plain_options();
  NamedTensors parameters = random_parameters(options, 12);
  parameters["model.layers.0.mlp.gate.weight"].zero_();
  const ReferenceMicroBatch batch = random_micro_batch(options, {5, 2}, 13);
  const ReferenceStep step = reference_step(options, parameters, {batch});
  for (int64_t t = 0; t < 7; ++t) {
    EXPECT_EQ(step.routes[0][0].expert_ids[t][0].item<int64_t>(), 0);
    EXPECT_EQ(step.routes[0][0].expert_ids[t][1].item<int64_t>(), 1);
  }
  EXPECT_EQ(step.smallest_margin, 0.0);
  const std::vector<int64_t> first_layer(step.load.begin(), step.load.begin() + 4);
  EXPECT_EQ(first_layer,
            (std::vector<int64_t>{5, 5, 0, 0}));  // the last of a document is not valid
}

TEST(ReferenceModel, WhatNobodyUsedHasAGradientOfExactlyZero) {
  const ReferenceOptions options = plain_options();
  NamedTensors parameters = random_parameters(options, 12);
  parameters["model.layers.0.mlp.gate.weight"].zero_();
  const ReferenceStep step =
      reference_step(options, parameters, {random_micro_batch(options, {5}, 13)});
  for (const int expert : {0, 1, 2, 3}) {
    const std::string name =
        "model.layers.0.mlp.experts." + std::to_string(expert) + ".down_proj.weight";
    EXPECT_EQ(step.gradients.at(name).eq(0.0).all().item<bool>(), expert > 1) << name;
  }
}

TEST(ReferenceModel, MicroBatchesOfOneStepAddUp) {
  ReferenceOptions options = full_options();
  options.aux_loss_coef = 0.0;  // means over a micro-batch do not add up
  options.z_loss_coef = 0.0;
  const NamedTensors parameters = random_parameters(options, 14);
  const ReferenceMicroBatch a = random_micro_batch(options, {4}, 15);
  const ReferenceMicroBatch b = random_micro_batch(options, {6}, 16);
  ReferenceMicroBatch joined = a;
  joined.tokens.insert(joined.tokens.end(), b.tokens.begin(), b.tokens.end());
  joined.labels.insert(joined.labels.end(), b.labels.begin(), b.labels.end());
  joined.segment_lengths = {4, 6};
  const ReferenceStep apart = reference_step(options, parameters, {a, {}, b});
  const ReferenceStep together = reference_step(options, parameters, {joined});
  EXPECT_NEAR(apart.loss, together.loss, 1e-12);
  EXPECT_EQ(apart.load, together.load);
  ASSERT_EQ(apart.routes[1].size(), 2u);
  EXPECT_EQ(apart.routes[1][0].expert_ids.size(0), 0);
  for (const auto& [name, gradient] : together.gradients) {
    EXPECT_LT(largest_difference(apart.gradients.at(name), gradient), 1e-12) << name;
  }
}

TEST(ReferenceModel, AMicroBatchWeighsWhatItsValidTokensWeigh) {
  const ReferenceOptions options = full_options();
  const NamedTensors parameters = random_parameters(options, 29);
  const ReferenceMicroBatch a = random_micro_batch(options, {3}, 30);  // 2 valid tokens
  const ReferenceMicroBatch b = random_micro_batch(options, {7}, 31);  // 6
  const ReferenceStep of_a = reference_step(options, parameters, {a});
  const ReferenceStep of_b = reference_step(options, parameters, {b});
  const ReferenceStep both = reference_step(options, parameters, {a, b});
  const auto mean = [](double x, double y) { return (2.0 * x + 6.0 * y) / 8.0; };
  EXPECT_NEAR(both.loss, mean(of_a.loss, of_b.loss), 1e-12);
  EXPECT_NEAR(both.aux_loss, mean(of_a.aux_loss, of_b.aux_loss), 1e-12);
  EXPECT_NEAR(both.z_loss, mean(of_a.z_loss, of_b.z_loss), 1e-12);
  EXPECT_NEAR(both.objective, mean(of_a.objective, of_b.objective), 1e-12);
  EXPECT_GT(std::abs(of_a.aux_loss - of_b.aux_loss), 1e-3);
}

TEST(ReferenceModel, AStepWithoutValidTokensHasNoGradient) {
  const ReferenceOptions options = full_options();
  const NamedTensors parameters = random_parameters(options, 17);
  ReferenceMicroBatch batch = random_micro_batch(options, {4}, 18);
  batch.labels.assign(4, -1);
  const ReferenceStep step = reference_step(options, parameters, {batch, {}});
  EXPECT_EQ(step.loss, 0.0);
  EXPECT_EQ(step.objective, 0.0);
  EXPECT_EQ(step.grad_norm, 0.0);
}

TEST(ReferenceModel, ReplayedRoutesAreUsedAndComparedWithItsOwn) {
  const ReferenceOptions options = full_options();
  const NamedTensors parameters = random_parameters(options, 19);
  const std::vector<ReferenceMicroBatch> batches = {random_micro_batch(options, {6}, 20)};
  const ReferenceStep own = reference_step(options, parameters, batches);
  ReferenceRoutes routes = own.routes;
  routes[0][1].expert_ids = routes[0][1].expert_ids.flip(1);  // the same set in another order
  const ReferenceStep same =
      reference_step(options, parameters, batches, 1, nullptr, nullptr, &routes);
  EXPECT_NEAR(same.objective, own.objective, 1e-14);
  EXPECT_EQ(same.disagreements, 0);

  Tensor& ids = routes[0][0].expert_ids;
  ids = ids.clone();
  const int64_t kept = ids[2][1].item<int64_t>();
  ids[2][0] = ids[2][0].item<int64_t>() == (kept + 1) % 4 ? (kept + 2) % 4 : (kept + 1) % 4;
  const ReferenceStep other =
      reference_step(options, parameters, batches, 1, nullptr, nullptr, &routes);
  EXPECT_GT(std::abs(other.objective - own.objective), 1e-6);
  EXPECT_GE(other.disagreements, 1);  // later layers see another input and may choose otherwise
  EXPECT_GE(other.widest_disagreement, own.smallest_margin);
}

TEST(ReferenceModel, RefusesWhatDoesNotFit) {
  const ReferenceOptions options = full_options();
  const NamedTensors parameters = random_parameters(options, 21);
  const ReferenceMicroBatch batch = random_micro_batch(options, {4}, 22);
  ReferenceMicroBatch broken = batch;
  broken.segment_lengths = {3};
  EXPECT_THROW(reference_step(options, parameters, {broken}), std::invalid_argument);
  broken = batch;
  broken.tokens[1] = options.vocab_size;
  EXPECT_THROW(reference_step(options, parameters, {broken}), std::invalid_argument);
  NamedTensors missing = parameters;
  missing.erase("model.norm.weight");
  EXPECT_THROW(reference_step(options, missing, {batch}), std::invalid_argument);
  NamedTensors narrow = parameters;
  narrow["model.norm.weight"] = narrow["model.norm.weight"].to(at::kFloat);
  EXPECT_THROW(reference_step(options, narrow, {batch}), std::invalid_argument);
}

}  // namespace
}  // namespace enodia
