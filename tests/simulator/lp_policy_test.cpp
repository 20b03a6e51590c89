// The cheapest plans, which need the program cbc.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include <gmock/gmock.h>

#include "parallel/placement/policies/enodia.h"
#include "parallel/placement/policies/rules.h"
#include "parallel/placement/replica_search.h"

#include "simulator/generated_trace.h"
#include "simulator/policies/policies.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LpPolicy : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v cbc > /dev/null") != 0) {
      GTEST_SKIP() << "cbc is missing; scripts/setup.sh installs it";
    }
  }

  LayerPlan plan(Rule rule, const LayerCounts& counts, int slots) const {
    return rule({topology_, owners_, slots}, counts, counts);
  }

  /// What Enodia comes to when it has seen the same counts before.
  LayerPlan enodia_plan(const LayerCounts& counts, int slots) const {
    const auto policy = make_enodia_policy({topology_, 1, 8, slots, {owners_}});
    policy->observe(0, counts);
    Replicas predicted;
    policy->predict(0, predicted);
    LayerPlan plan;
    policy->resolve(0, counts, predicted, plan);
    return plan;
  }

  /// In thousandths of a token, by its definition.
  int64_t cost(const LayerPlan& plan, const LayerCounts& counts, int slots) const {
    const PlanPrices prices(slots);
    const PlanScore score = score_plan(plan, counts, topology_);
    const auto slowest = static_cast<int64_t>(
        score.imbalance * static_cast<double>(score.tokens) / topology_.num_ranks() + 0.5);
    const int64_t goal = goal_of(prices, NodeCounts(counts, topology_), topology_);
    return prices.straggling * topology_.num_ranks() * std::max<int64_t>(0, slowest - goal) +
           prices.crossing * score.inter_node +
           prices.share * score.tokens / 1000 * count_transfers(plan);
  }

  Topology topology_ = Topology::uniform(2, 2);
  std::vector<int32_t> owners_{0, 0, 1, 1, 2, 2, 3, 3};
};

TEST_F(LpPolicy, LevelsOneHotExpertOverAllRanks) {
  std::vector<int32_t> tokens(4 * 8, 0);
  for (int rank = 0; rank < 4; ++rank) {
    tokens[rank * 8] = 1000;
  }
  const LayerPlan plan = this->plan(plan_lp, {8, tokens}, 1);
  EXPECT_THAT(plan.replicas.rows()[0], ElementsAre(1, 2, 3));
  EXPECT_THAT(plan.replicas.rows()[1], IsEmpty());
  EXPECT_EQ(plan.transfers, 3);
  EXPECT_EQ(score_plan(plan, {8, tokens}, topology_).inter_node, 0);
  for (const int64_t quota : plan.quotas[0]) {
    EXPECT_LE(quota, 1021);
  }
}

TEST_F(LpPolicy, SendsNothingWhereRanksAreLevelAndTokensAtHome) {
  std::vector<int32_t> tokens(4 * 8, 0);
  for (int rank = 0; rank < 4; ++rank) {
    std::fill_n(tokens.begin() + rank * 8 + (rank < 2 ? 0 : 4), 4, 100);
  }
  EXPECT_EQ(plan(plan_lp, {8, tokens}, 2).transfers, 0);
}

TEST_F(LpPolicy, NoOtherPlanIsCheaper) {
  const RoutingTrace trace = generate_trace({.samples = 4,
                                             .layers = 1,
                                             .ranks = 4,
                                             .experts = 8,
                                             .tokens = 1000,
                                             .nodes = 2,
                                             .home = 0.7});
  for (int sample = 0; sample < trace.num_samples(); ++sample) {
    const LayerCounts counts = trace.at(sample, 0);
    for (const int slots : {0, 1, 2}) {
      const LayerPlan best = plan(plan_lp, counts, slots);
      const int64_t least_cost = cost(best, counts, slots);
      // Tokens are whole, and cbc stops at a ten-thousandth.
      const int64_t least = least_cost - 8 * 4 * 1500 - least_cost / 10000;
      for (const Rule rule : {plan_owners, plan_hecate, plan_ultraep, plan_ultraep_global}) {
        EXPECT_GE(cost(plan(rule, counts, slots), counts, slots), least)
            << sample << ", slots " << slots;
      }
      EXPECT_GE(cost(enodia_plan(counts, slots), counts, slots), least)
          << sample << ", slots " << slots;
    }
  }
}

}  // namespace
}  // namespace enodia
