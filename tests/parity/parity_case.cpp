#include "tests/parity/parity_case.h"

#include <array>
#include <numeric>
#include <utility>

#include <ATen/ops/full.h>

#include "parallel/placement/slot_count.h"
#include "tests/parity/random_plans.h"
#include "tests/references/reference_problem.h"

namespace enodia {
namespace {

constexpr int kSteps = 2;  // the second computes with what the first has updated and sent around

std::vector<int64_t> segment_lengths(int64_t micro_batch) {
  static const std::array<std::vector<int64_t>, 5> kLengths{
      {{7, 4}, {9}, {3, 5, 2}, {12, 1}, {2, 2, 2, 6}}};
  return kLengths.at(static_cast<size_t>(micro_batch) % kLengths.size());
}

// The first segment is a sequence, and the others together are one.
std::vector<int64_t> sequences_of(const std::vector<int64_t>& segments) {
  std::vector<int64_t> sequences{segments[0]};
  if (segments.size() > 1) {
    sequences.push_back(std::accumulate(segments.begin() + 1, segments.end(), int64_t{0}));
  }
  return sequences;
}

// The data-parallel groups listed get no tokens in any step.
ParityCase without_tokens(ParityCase parity_case, const std::vector<int>& groups) {
  for (auto& step : parity_case.steps) {
    for (size_t m = 0; m < step.size(); ++m) {
      for (const int group : groups) {
        if (static_cast<int>(m) % parity_case.layout.dp() == group) {
          step[m] = {};
        }
      }
    }
  }
  return parity_case;
}

// Rank 0 has tokens but nothing to predict: it routes and serves, and adds nothing.
ParityCase without_labels(ParityCase parity_case) {
  for (auto& step : parity_case.steps) {
    step[0].labels.assign(step[0].labels.size(), -1);
  }
  return parity_case;
}

// One entry of the residual stream is large for every token, and expert 0 alone listens to it.
ParityCase with_one_favorite(ParityCase parity_case) {
  for (auto& [name, tensor] : parity_case.parameters) {
    if (name == "model.embed_tokens.weight") {
      tensor.select(1, 0).fill_(12.0);
    } else if (name.find("post_attention_layernorm") != std::string::npos) {
      tensor.fill_(1.0);
    } else if (name.find(".mlp.gate.weight") != std::string::npos) {
      tensor.mul_(0.125).select(1, 0).fill_(0.0);
      tensor[0][0] = 0.8125;  // exact in float32
    }
  }
  return parity_case;
}

ReferenceOptions experts(int64_t count, int64_t per_token) {
  ReferenceOptions options = parity_options();
  options.num_experts = count;
  options.num_experts_per_tok = per_token;
  return options;
}

// One expert a token with a raw weight: a renormalized one would be 1 and teach the router nothing.
ReferenceOptions one_expert_a_token() {
  ReferenceOptions options = experts(8, 1);
  options.norm_topk_prob = false;
  return options;
}

ReferenceOptions sigmoid(ReferenceOptions options, bool norm_topk_prob) {
  options.sigmoid_scores = true;
  options.norm_topk_prob = norm_topk_prob;
  return options;
}

ReferenceOptions shared_and_dense() {
  ReferenceOptions options = parity_options();
  options.num_hidden_layers = 3;
  options.num_shared_experts = 2;
  options.first_k_dense_replace = 1;
  return options;
}

ReferenceOptions deepseek_like() {
  ReferenceOptions options = shared_and_dense();
  options.norm_topk_prob = false;
  options.use_qk_norm = false;
  options.num_key_value_heads = options.num_attention_heads;
  return options;
}

ReferenceOptions tied_with_biases() {
  ReferenceOptions options = parity_options();
  options.tie_word_embeddings = true;
  options.attention_bias = true;
  options.attention_output_bias = true;
  return options;
}

ReferenceOptions one_key(ReferenceOptions options) {
  options.num_key_value_heads = 1;
  return options;
}

ReferenceOptions balanced(const std::string& scope) {
  ReferenceOptions options = parity_options();
  options.aux_loss_scope = scope;
  return options;
}

ReferenceOptions device_groups() {
  ReferenceOptions options = parity_options();
  options.device_loss_coef = 0.07;
  options.device_groups = 4;
  return options;
}

ReferenceOptions biased() {
  ReferenceOptions options = sigmoid(experts(6, 2), true);
  options.use_expert_bias = true;
  options.expert_bias_update_rate = 0.0625;
  return options;
}

ReferenceOptions grouped(bool by_max) {
  ReferenceOptions options = by_max ? parity_options() : biased();
  options.num_experts = 8;
  options.n_group = 4;
  options.topk_group = 2;
  options.group_score_is_max = by_max;
  return options;
}

ReferenceOptions latent(int64_t q_lora_rank) {
  ReferenceOptions options = parity_options();
  options.latent_attention = true;
  options.use_qk_norm = false;
  options.q_lora_rank = q_lora_rank;
  options.kv_lora_rank = 7;
  options.qk_nope_head_dim = 5;
  options.qk_rope_head_dim = 4;
  options.v_head_dim = 3;
  options.rope_interleave = true;
  return options;
}

ReferenceOptions latent_with_yarn() {
  ReferenceOptions options = latent(6);
  options.yarn = true;
  options.yarn_factor = 4.0;
  options.yarn_original_length = 8.0;
  options.yarn_mscale = 1.0;
  options.yarn_mscale_all_dim = 0.7;
  options.num_shared_experts = 1;
  options.shared_expert_intermediate_size = 13;
  options.shared_expert_gate = true;
  return options;
}

ReferenceOptions norms_of_all_heads() {
  ReferenceOptions options = parity_options();
  options.full_qk_norm = true;
  options.partial_rotary_factor = 0.7;  // four of six dims
  return options;
}

ReferenceOptions jittered() {
  ReferenceOptions options = parity_options();
  options.jitter_eps = 0.125;
  options.seed = 77;
  return options;
}

ReferenceOptions with_capacity(ReferenceOptions options, const std::string& policy) {
  options.capacity_factor = 1.0;
  options.drop_policy = policy;
  options.seed = 5;
  return options;
}

ParityLayout striped(ParityLayout layout, int stripes) {
  layout.stripes = stripes;
  return layout;
}

ReferenceOptions dense() {
  ReferenceOptions options = parity_options();
  options.num_experts = 0;
  return options;
}

}  // namespace

NamedTensors parity_parameters(const ReferenceOptions& options, uint64_t seed) {
  NamedTensors parameters = random_parameters(options, seed);
  for (auto& [name, tensor] : parameters) {
    const bool is_norm = name.find("norm.weight") != std::string::npos;
    const bool is_router = name.find(".mlp.gate.weight") != std::string::npos;
    tensor = tensor.mul(is_norm || is_router ? 1.0 : 0.4).to(at::kFloat).to(at::kDouble);
  }
  return parameters;
}

ParityCase with_masks(ParityCase parity_case) {
  int64_t token = 0;
  for (auto& step : parity_case.steps) {
    for (ReferenceMicroBatch& batch : step) {
      for (int64_t& label : batch.labels) {
        label = ++token % 3 == 0 ? -1 : label;
      }
    }
  }
  return parity_case;
}

ReferenceOptions parity_options() {
  ReferenceOptions options;
  options.vocab_size = 37;
  options.hidden_size = 22;
  options.num_hidden_layers = 2;
  options.num_attention_heads = 4;
  options.num_key_value_heads = 2;
  options.head_dim = 6;
  options.intermediate_size = 19;
  options.moe_intermediate_size = 9;
  options.num_experts = 8;
  options.num_experts_per_tok = 2;
  options.routed_scaling_factor = 1.5;
  options.aux_loss_coef = 0.05;
  options.z_loss_coef = 0.01;
  options.lr = 0.02;
  options.eps = 1e-3;  // the default turns rounding of a tiny gradient into a whole step
  options.weight_decay = 0.3;
  options.clip_norm = 0.5;
  return options;
}

ParityCase make_parity_case(const std::string& name,
                            const ReferenceOptions& options,
                            const ParityLayout& layout,
                            int accumulation,
                            uint64_t seed) {
  ParityCase parity_case{name, options, layout, {}, parity_parameters(options)};
  int64_t token = 0;
  for (int step = 0; step < kSteps; ++step) {
    parity_case.steps.emplace_back();
    for (int m = 0; m < layout.dp() * accumulation; ++m, ++seed) {
      const std::vector<int64_t> lengths = segment_lengths(step + m);
      ReferenceMicroBatch batch = random_micro_batch(options, lengths, seed);
      batch.sequence_lengths = sequences_of(lengths);
      batch.first_token = token;
      token += static_cast<int64_t>(batch.tokens.size());
      parity_case.steps.back().push_back(std::move(batch));
    }
  }
  return parity_case;
}

std::vector<ParityCase> parity_cases() {
  const ReferenceOptions base = parity_options();
  return {
      make_parity_case("W1", base, {1, 1}),
      make_parity_case("W1Accumulation3", base, {1, 1}, 3),
      make_parity_case("W2Ep1", base, {2, 1}),
      make_parity_case("W3Ep1", base, {3, 1}),
      make_parity_case("W2Ep2", base, {2, 2}),
      make_parity_case("W3Ep3", base, {3, 3}),
      make_parity_case("W4Ep4", base, {4, 4}),
      make_parity_case("W4Ep2", base, {4, 2}),
      make_parity_case("W4Ep4SixExperts", experts(6, 2), {4, 4}),
      make_parity_case("W4Ep4TwoExperts", experts(2, 1), {4, 4}),
      make_parity_case("W4Ep2TwoExpertsBothChosen", experts(2, 2), {4, 2}),
      make_parity_case("W2Ep2Accumulation3", base, {2, 2}, 3),
      make_parity_case("W4Ep2Accumulation3", base, {4, 2}, 3),
      with_masks(make_parity_case("W3Ep3Masks", base, {3, 3})),
      with_masks(make_parity_case("W4Ep2Masks", base, {4, 2})),
      without_labels(make_parity_case("W2Ep2RankWithoutLabels", base, {2, 2})),
      make_parity_case("W3Ep3SharedAndFirstDense", shared_and_dense(), {3, 3}),
      make_parity_case("W4Ep2DeepSeekLike", deepseek_like(), {4, 2}),
      make_parity_case("W2Ep2Sigmoid", sigmoid(base, true), {2, 2}),
      with_masks(make_parity_case("W4Ep2SigmoidNotRenormalized", sigmoid(base, false), {4, 2})),
      make_parity_case("W3Ep3SigmoidOneExpertAToken", sigmoid(experts(8, 1), false), {3, 3}),
      make_parity_case(
          "W3Ep1SigmoidSharedAndFirstDense", sigmoid(shared_and_dense(), true), {3, 1}),
      make_parity_case("W2Ep2TiedWithBiases", tied_with_biases(), {2, 2}),
      make_parity_case("W3Ep1Dense", dense(), {3, 1}),
      without_tokens(make_parity_case("W3Ep3RankWithoutTokens", base, {3, 3}), {1}),
      without_tokens(make_parity_case("W4Ep2GroupWithoutTokens", base, {4, 2}), {2, 3}),
      without_tokens(make_parity_case("W4Ep4OneRankHasAllTokens", base, {4, 4}), {0, 1, 3}),
      with_one_favorite(make_parity_case("W3Ep1AllToOneExpert", one_expert_a_token(), {3, 1})),
      with_one_favorite(make_parity_case("W4Ep4AllToOneExpert", one_expert_a_token(), {4, 4})),
      make_parity_case("W2Tp2", base, {2, 1, 2}),
      make_parity_case("W2Tp2Ep2", base, {2, 2, 2}),
      make_parity_case("W3Tp3UnevenTokensAndHeads", base, {3, 3, 3}),
      with_masks(make_parity_case("W4Tp2Ep1Masks", base, {4, 1, 2})),
      make_parity_case("W4Tp2Ep4", base, {4, 4, 2}),
      make_parity_case("W4Tp2Ep2Accumulation2", base, {4, 2, 2}, 2),
      make_parity_case("W4Tp4FewerKeysThanRanks", base, {4, 4, 4}),
      make_parity_case("W4Tp4OneKey", one_key(base), {4, 2, 4}),
      make_parity_case("W8Tp2Ep4", base, {8, 4, 2}),
      make_parity_case("W8Tp4Ep8", base, {8, 8, 4}),
      make_parity_case("W8Tp8Ep8MoreRanksThanHeads", base, {8, 8, 8}),
      make_parity_case("W3Tp3SharedAndFirstDense", shared_and_dense(), {3, 3, 3}),
      make_parity_case("W4Tp2DeepSeekLike", deepseek_like(), {4, 4, 2}),
      make_parity_case("W4Tp4TiedWithBiases", tied_with_biases(), {4, 4, 4}),
      make_parity_case("W6Tp3TiedWithBiases", tied_with_biases(), {6, 2, 3}),
      make_parity_case("W4Tp2Dense", dense(), {4, 1, 2}),
      without_tokens(make_parity_case("W4Tp2GroupWithoutTokens", base, {4, 4, 2}), {1}),
      with_masks(make_parity_case("W4Tp2Sigmoid", sigmoid(base, true), {4, 2, 2})),
      make_parity_case("W3Ep3SequenceLoss", balanced("sequence"), {3, 3}),
      with_masks(make_parity_case("W4Tp2SequenceLoss", balanced("sequence"), {4, 4, 2}, 2)),
      make_parity_case("W4Ep2GlobalBatchLoss", balanced("global_batch"), {4, 2}, 2, 50),
      with_masks(make_parity_case("W4Tp2GlobalBatchLoss", balanced("global_batch"), {4, 4, 2}, 3)),
      make_parity_case("W4Ep2DeviceLoss", device_groups(), {4, 2}),
      with_masks(make_parity_case("W3Tp3DeviceLoss", device_groups(), {3, 1, 3})),
      with_masks(make_parity_case("W4Ep2ExpertBias", biased(), {4, 2}, 2, 50)),
      make_parity_case("W4Tp2ExpertBiasZero1", biased(), {4, 2, 2, Zero1::kRows}, 1, 50),
      make_parity_case("W3Ep3GroupsByTheirTwoBest", grouped(false), {3, 3}),
      make_parity_case("W4Tp2GroupsByTheirBest", grouped(true), {4, 4, 2}),
      make_parity_case("W3Ep3Jitter", jittered(), {3, 3}),
      make_parity_case("W4Tp4Jitter", jittered(), {4, 2, 4}),
      with_masks(
          make_parity_case("W3Ep3CapacityByPosition", with_capacity(base, "position"), {3, 3})),
      with_masks(make_parity_case("W4Tp2CapacityByProbs", with_capacity(base, "probs"), {4, 4, 2})),
      with_masks(
          make_parity_case("W3Tp3CapacityAtRandom", with_capacity(base, "random"), {3, 3, 3})),
      make_parity_case(
          "W4Tp2Ep2CapacityWithBias", with_capacity(biased(), "random"), {4, 2, 2}, 2, 50),
      make_parity_case("W3Ep3LatentAttention", latent(0), {3, 3}),
      make_parity_case("W2Tp2LatentAttention", latent(6), {2, 2, 2}),
      make_parity_case("W3Tp3LatentAttentionYarnGatedShared", latent_with_yarn(), {3, 3, 3}),
      make_parity_case("W4Tp2LatentAttentionZero1Recomputed",
                       latent_with_yarn(),
                       {4, 4, 2, Zero1::kRows, Recompute::kLayers}),
      make_parity_case("W3Ep3NormsOfAllHeads", norms_of_all_heads(), {3, 3}),
      make_parity_case("W4Tp4NormsOfAllHeads", norms_of_all_heads(), {4, 4, 4}),
      make_parity_case(
          "W3Ep3RecomputedLayers", shared_and_dense(), {3, 3, 1, Zero1::kOff, Recompute::kLayers}),
      with_masks(make_parity_case("W4Tp2RecomputedLayers",
                                  with_capacity(jittered(), "random"),
                                  {4, 4, 2, Zero1::kRows, Recompute::kLayers},
                                  2)),
      make_parity_case("W4Tp2RecomputedExperts",
                       shared_and_dense(),
                       {4, 2, 2, Zero1::kOff, Recompute::kExperts}),
      make_parity_case("W1Zero1", base, {1, 1, 1, Zero1::kRows}),
      make_parity_case("W3Ep3Zero1", base, {3, 3, 1, Zero1::kRows}),
      make_parity_case("W3Ep1Zero1WholeParameters", base, {3, 1, 1, Zero1::kParameters}),
      make_parity_case("W2Ep2Zero1TiedWithBiases", tied_with_biases(), {2, 2, 1, Zero1::kRows}),
      make_parity_case("W4Tp2Zero1", base, {4, 4, 2, Zero1::kRows}),
      make_parity_case("W6Tp3Zero1TiedWithBiases", tied_with_biases(), {6, 6, 3, Zero1::kRows}),
      make_parity_case("W4Tp4Zero1WholeParameters", base, {4, 4, 4, Zero1::kParameters}),
      make_parity_case("W4Ep2Stripes2", base, striped({4, 2}, 2)),
  };
}

namespace {

/// The layout with random plans; another draw for each `draw`.
ParityLayout planned(ParityLayout layout, int draw, std::vector<int> nodes = {}) {
  layout.policy = &kRandomPlans;
  layout.extra_slots = draw;
  layout.nodes = std::move(nodes);
  return layout;
}

ParityLayout keeping(ParityLayout layout, int layers = kAllLayers) {
  layout.kept_layers = layers;
  return layout;
}

ParityLayout moving(ParityLayout layout) {
  layout.owners_move = true;
  return layout;
}

/// Real plans of a policy: with one favorite of the tokens, so that there is something to plan.
ParityCase of_policy(const PolicyEntry& policy, int stripes = 1) {
  ParityLayout layout = striped({4, 4}, stripes);
  layout.policy = &policy;
  layout.extra_slots = 2;
  layout.owners_move = true;
  layout.nodes = {0, 0, 1, 1};
  const std::string kind = stripes > 1 ? "Striped_" : "_";
  return with_one_favorite(make_parity_case(
      "W4AllToOneExpert" + kind + std::string(policy.name), one_expert_a_token(), layout, 2));
}

/// Experts that several ranks own together, at home and planned.
std::vector<ParityCase> striped_cases() {
  const ReferenceOptions base = parity_options();
  return {
      make_parity_case("W2Stripes2", base, striped({2, 2}, 2), 2),
      make_parity_case("W3Ep1Stripes3", base, striped({3, 1}, 3), 2),
      make_parity_case("W4Ep2Stripes4", base, striped({4, 2}, 4), 2),
      make_parity_case("W4TwoExpertsStripes2", experts(2, 1), striped({4, 4}, 2)),
      make_parity_case("W4PlansStripes2", base, striped(planned({4, 4}, 19, {0, 0, 1, 1}), 2), 2),
      make_parity_case("W4PlansSixExpertsStripes4",
                       experts(6, 2),
                       striped(planned({4, 4}, 20, {0, 1, 1, 2}), 4)),
      make_parity_case(
          "W6PlansStripes3", base, striped(planned({6, 6}, 21, {0, 0, 0, 0, 1, 1}), 3)),
      with_masks(make_parity_case(
          "W8PlansStripes8Kept", base, striped(keeping(planned({8, 8}, 22), 1), 8), 2)),
      make_parity_case("W4Tp2PlansStripes2RecomputedLayers",
                       shared_and_dense(),
                       striped(planned({4, 4, 2, Zero1::kRows, Recompute::kLayers}, 23), 2),
                       2),
      without_tokens(make_parity_case("W4PlansStripes4OneRankHasAllTokens",
                                      base,
                                      striped(planned({4, 4}, 24, {0, 0, 1, 1}), 4)),
                     {0, 1, 3}),
      make_parity_case("W4OwnersMoveStripes2", base, striped(moving({4, 4}), 2), 2),
      make_parity_case("W8PlansOwnersMoveStripes4", base, striped(moving(planned({8, 8}, 25)), 4)),
  };
}

}  // namespace

std::vector<ParityCase> placement_cases() {
  const ReferenceOptions base = parity_options();
  std::vector<ParityCase> cases{
      make_parity_case("W1Plans", base, planned({1, 1}, 1)),
      make_parity_case("W2Plans", base, planned({2, 2}, 2)),
      make_parity_case("W3PlansAccumulation3", base, planned({3, 3}, 3, {0, 0, 1}), 3),
      make_parity_case("W4Plans", base, planned({4, 4}, 4, {0, 0, 1, 1})),
      make_parity_case("W4PlansSixExperts", experts(6, 2), planned({4, 4}, 5, {0, 1, 1, 2})),
      make_parity_case("W4PlansTwoExperts", experts(2, 1), planned({4, 4}, 6)),
      make_parity_case(
          "W5PlansSharedAndFirstDense", shared_and_dense(), planned({5, 5}, 7, {0, 0, 0, 1, 1}), 2),
      make_parity_case("W8Plans", base, planned({8, 8}, 8, {0, 0, 0, 1, 1, 1, 2, 2})),
      with_masks(make_parity_case("W4PlansMasksKept", base, keeping(planned({4, 4}, 9)), 2)),
      make_parity_case("W4PlansAccumulationOneLayerKept",
                       base,
                       keeping(planned({4, 4}, 13, {0, 0, 1, 1}), 1),
                       3),
      make_parity_case("W3PlansRecomputedLayers",
                       shared_and_dense(),
                       planned({3, 3, 1, Zero1::kRows, Recompute::kLayers}, 10),
                       2),
      make_parity_case("W3PlansRecomputedLayersKept",
                       shared_and_dense(),
                       keeping(planned({3, 3, 1, Zero1::kOff, Recompute::kLayers}, 11), 1)),
      make_parity_case("W4Tp2PlansRecomputedExperts",
                       base,
                       planned({4, 4, 2, Zero1::kRows, Recompute::kExperts}, 12, {0, 0, 1, 1}),
                       2),
      with_masks(make_parity_case(
          "W4Tp2PlansCapacityWithBias", with_capacity(biased(), "random"), planned({4, 4, 2}, 13))),
      without_tokens(make_parity_case("W3PlansRankWithoutTokens", base, planned({3, 3}, 14)), {1}),
      without_tokens(
          make_parity_case("W4PlansOneRankHasAllTokens", base, planned({4, 4}, 15, {0, 0, 1, 1})),
          {0, 1, 3}),
      with_one_favorite(
          make_parity_case("W4PlansAllToOneExpert", one_expert_a_token(), planned({4, 4}, 16), 2)),
      make_parity_case("W4OwnersMove", base, moving({4, 4})),
      make_parity_case("W4Tp2OwnersMoveZero1", base, moving({4, 4, 2, Zero1::kRows}), 2),
      make_parity_case(
          "W3PlansOwnersMove", shared_and_dense(), moving(planned({3, 3}, 17, {0, 0, 1})), 2),
      make_parity_case("W8PlansOwnersMove", base, moving(planned({8, 8}, 18))),
  };
  for (const PolicyEntry& policy : placement_policies()) {
    cases.push_back(of_policy(policy));
    cases.push_back(of_policy(policy, 2));
  }
  const std::vector<ParityCase> with_stripes = striped_cases();
  cases.insert(cases.end(), with_stripes.begin(), with_stripes.end());
  return cases;
}

}  // namespace enodia
