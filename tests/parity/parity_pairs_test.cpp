// Pairs of everything that may be chosen for a step, by a covering design: any two choices meet in
// some case, which must compute what the reference computes.
#include <set>
#include <string>

#include <gmock/gmock.h>

#include "tests/parity/covering_design.h"
#include "tests/parity/parity_comparison.h"

namespace enodia {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

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

std::string name_of(const std::vector<int>& row) {
  std::string name = "Row";
  for (const int level : row) {
    name += "_" + std::to_string(level);
  }
  return name;
}

/// Of cases that differ in their numbers alone, the first in which no choice of experts is close.
ParityCase decided_case(const std::vector<int>& row) {
  ParityLayout layout = kLayouts[row[kLayout]];
  layout.zero1 = static_cast<Zero1>(row[kZero1]);
  layout.recompute = static_cast<Recompute>(row[kRecompute]);
  const ReferenceOptions options = options_of(row);
  for (uint64_t seed = 1;; ++seed) {
    ParityCase parity_case =
        make_parity_case(name_of(row), options, layout, 1 + row[kAccumulation], 1000 * seed);
    parity_case.parameters = parity_parameters(options, 100 + seed);
    if (row[kMasks] == 1) {
      parity_case = with_masks(std::move(parity_case));
    }
    if (run_reference(parity_case, layout.dp()).smallest_margin > 1e-4 &&
        run_reference(parity_case, 1).smallest_margin > 1e-4) {
      return parity_case;
    }
  }
}

class ParityPairs : public testing::TestWithParam<std::vector<int>> {};

TEST_P(ParityPairs, TheLayoutComputesWhatTheReferenceComputes) {
  const ParityCase parity_case = decided_case(GetParam());
  const ReferenceRun reference = run_reference(parity_case, parity_case.layout.dp());
  const ReferenceRun alone = run_reference(parity_case, 1);
  for (const ParityType type : {ParityType::kFloat64, ParityType::kFloat32}) {
    const OneRankRuns one_rank = run_one_rank(parity_case, type);
    for (const auto& run : one_rank) {
      EXPECT_THAT(compare_one_rank("w1", run, alone, type), IsEmpty());
    }
    const auto layout = run_parity_case_on_threads(parity_case, parity_case.layout, type);
    EXPECT_THAT(compare_layout("layout", layout, one_rank, reference, type), IsEmpty());
  }
  EXPECT_THAT(bfloat16_violations(parity_case), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Rows,
                         ParityPairs,
                         testing::ValuesIn(covering_design(kLevels)),
                         [](const auto& test) { return name_of(test.param); });

TEST(CoveringDesign, HasEveryPairInFewRows) {
  const auto rows = covering_design(kLevels);
  EXPECT_LE(rows.size(), 56U);  // 8 x 5 at least
  for (size_t f = 0; f < kLevels.size(); ++f) {
    for (size_t g = f + 1; g < kLevels.size(); ++g) {
      std::set<std::pair<int, int>> seen;
      for (const auto& row : rows) {
        seen.emplace(row[f], row[g]);
      }
      EXPECT_THAT(seen, SizeIs(kLevels[f] * kLevels[g])) << f << " " << g;
    }
  }
  EXPECT_THAT(covering_design({1}), SizeIs(1));
}

}  // namespace
}  // namespace enodia
