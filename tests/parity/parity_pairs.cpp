#include "tests/parity/parity_pairs.h"

#include <algorithm>

#include "tests/parity/covering_design.h"
#include "tests/parity/parity_comparison.h"

namespace enodia {
namespace {

const std::vector<ParityLayout> kLayouts{
    {1}, {2, 2, 2}, {3, 3, 3}, {4, 1, 2}, {4, 4, 2}, {4, 2, 1}, {8, 4, 2}, {8, 8, 4}};
const std::vector<std::string> kScopes{"micro_batch", "sequence", "global_batch"};
const std::vector<std::string> kPolicies{"", "position", "probs", "random"};

enum Factor {
  kLayout,
  kZero1,
  kScope,
  kDevice,
  kPolicy,
  kChoice,
  kRecompute,
  kShape,
  kAccumulation,
  kMasks,
  kJitter,
  kNumFactors
};
const std::vector<int> kLevels{8, 3, 3, 2, 4, 4, 3, 5, 2, 2, 2};

/// How experts are chosen.
void set_choice(ReferenceOptions& options, int level) {
  options.sigmoid_scores = level == 1 || level == 3;
  options.use_expert_bias = level == 3;
  options.expert_bias_update_rate = 0.0625;
  options.n_group = level >= 2 ? 4 : 1;
  options.topk_group = level >= 2 ? 2 : 1;
  options.group_score_is_max = level == 2;
}

void set_shape(ReferenceOptions& options, int level) {
  if (level == 1) {
    options.num_hidden_layers = 3;
    options.num_shared_experts = 2;
    options.first_k_dense_replace = 1;
  } else if (level == 2) {
    options.tie_word_embeddings = true;
    options.attention_bias = true;
    options.attention_output_bias = true;
  } else if (level == 3) {
    options.norm_topk_prob = false;
    options.use_qk_norm = false;
    options.num_key_value_heads = 1;
  } else if (level == 4) {
    options.latent_attention = true;
    options.use_qk_norm = false;
    options.q_lora_rank = 6;
    options.kv_lora_rank = 7;
    options.qk_nope_head_dim = 5;
    options.qk_rope_head_dim = 4;
    options.v_head_dim = 3;
    options.num_shared_experts = 1;
    options.shared_expert_intermediate_size = 13;
    options.shared_expert_gate = true;
  }
}

ReferenceOptions options_of(const std::vector<int>& row) {
  ReferenceOptions options = parity_options();
  options.aux_loss_scope = kScopes[row[kScope]];
  options.device_loss_coef = row[kDevice] * 0.07;
  options.device_groups = 4;
  options.capacity_factor = row[kPolicy] > 0 ? 1.0 : 0.0;
  options.drop_policy = kPolicies[row[kPolicy]];
  options.jitter_eps = row[kJitter] * 0.125;
  options.seed = 11;
  set_choice(options, row[kChoice]);
  set_shape(options, row[kShape]);
  return options;
}

}  // namespace

std::vector<PairRow> pair_rows() {
  return covering_design(kLevels);
}

const std::vector<int>& pair_levels() {
  return kLevels;
}

std::string name_of_pairs(const PairRow& row) {
  std::string name = "Row";
  for (const int level : row) {
    name += "_" + std::to_string(level);
  }
  return name;
}

bool has_global_scope(const PairRow& row) {
  return kScopes[row[kScope]] == "global_batch";
}

ParityCase pair_case(const PairRow& row) {
  ParityLayout layout = kLayouts[row[kLayout]];
  layout.zero1 = static_cast<Zero1>(row[kZero1]);
  layout.recompute = static_cast<Recompute>(row[kRecompute]);
  const ReferenceOptions options = options_of(row);
  for (uint64_t seed = 1;; ++seed) {
    ParityCase parity_case =
        make_parity_case(name_of_pairs(row), options, layout, 1 + row[kAccumulation], 1000 * seed);
    parity_case.parameters = parity_parameters(options, 100 + seed);
    if (row[kMasks] == 1) {
      parity_case = with_masks(std::move(parity_case));
    }
    const auto [of_layout, of_one_rank] = run_references(parity_case);
    if (std::min(of_layout.smallest_margin, of_one_rank.smallest_margin) > 1e-4) {
      return parity_case;
    }
  }
}

}  // namespace enodia
