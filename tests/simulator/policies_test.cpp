// Worked examples of the published policies.
#include "simulator/policies/policies.h"

#include <map>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>

#include "parallel/placement/policies/eplb.h"
#include "parallel/placement/policies/rules.h"
#include "parallel/placement/policy.h"

namespace enodia {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// The experts of each rank, ascending.
std::vector<std::vector<int32_t>> experts_by_rank(const Holders& holders, int ranks) {
  std::vector<std::vector<int32_t>> experts(ranks);
  for (size_t expert = 0; expert < holders.size(); ++expert) {
    for (const int32_t rank : holders[expert]) {
      experts[rank].push_back(static_cast<int32_t>(expert));
    }
  }
  return experts;
}

// The example of EPLB's README: 12 experts in four groups, 16 copies on two nodes of four.
TEST(Eplb, PlacesTheExampleOfItsSource) {
  const Topology topology = Topology::uniform(2, 4);
  const auto place = [&](const std::vector<int64_t>& load) {
    return experts_by_rank(place_eplb(load, topology, 2, 3), 8);
  };
  EXPECT_THAT(place({90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86}),
              ElementsAre(ElementsAre(5, 6),
                          ElementsAre(5, 7),
                          ElementsAre(4, 8),
                          ElementsAre(3, 4),
                          ElementsAre(9, 10),
                          ElementsAre(2, 10),
                          ElementsAre(0, 1),
                          ElementsAre(1, 11)));
  EXPECT_THAT(place({20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27}),
              ElementsAre(ElementsAre(7, 10),
                          ElementsAre(6, 8),
                          ElementsAre(6, 11),
                          ElementsAre(8, 9),
                          ElementsAre(2, 4),
                          ElementsAre(1, 5),
                          ElementsAre(0, 5),
                          ElementsAre(1, 3)));
}

/// Four ranks on two nodes, four experts, one owned by each; each rank has a quarter of the tokens.
class Rules : public ::testing::Test {
 protected:
  LayerPlan plan(Rule rule, int slots, const std::vector<int32_t>& row_of_rank) {
    tokens_.clear();
    for (int rank = 0; rank < 4; ++rank) {
      tokens_.insert(tokens_.end(), row_of_rank.begin(), row_of_rank.end());
    }
    const LayerCounts counts{4, tokens_};
    return rule({topology_, owners_, slots}, counts, counts);
  }
  int64_t load(const LayerPlan& plan, int32_t rank) const {
    int64_t sum = 0;
    for (size_t expert = 0; expert < 4; ++expert) {
      for (size_t i = 0; i < plan.quotas[expert].size(); ++i) {
        const int32_t host = i == 0 ? plan.owners[expert] : plan.replicas[expert][i - 1];
        sum += host == rank ? plan.quotas[expert][i] : 0;
      }
    }
    return sum;
  }

  Topology topology_ = Topology::uniform(2, 2);
  std::vector<int32_t> owners_{0, 1, 2, 3};
  std::vector<int32_t> tokens_;
};

// 4000, 2400, 400 and 400 tokens: a shadow of the first brings 2400 + 1500 < 4000; one of the
// second, too, would bring 400 + 3000 < 3900; a third 400 + 4500.
TEST_F(Rules, FasterMoeShadowsWhileItPays) {
  const LayerPlan plan = this->plan(plan_fastermoe, 1, {1000, 600, 100, 100});
  EXPECT_THAT(plan.replicas.rows(),
              ElementsAre(ElementsAre(1, 2, 3), ElementsAre(0, 2, 3), IsEmpty(), IsEmpty()));
  EXPECT_THAT(plan.quotas.rows()[0], ElementsAre(1000, 1000, 1000, 1000));
  EXPECT_EQ(plan.transfers, 6);
  EXPECT_THAT(this->plan(plan_fastermoe, 1, {500, 400, 300, 300}).replicas.rows(), Each(IsEmpty()));
}

// The two most loaded experts share four slots, 3 to 1; the first goes to the other node first.
TEST_F(Rules, HecateGivesSlotsByShareOverNodes) {
  const LayerPlan plan = this->plan(plan_hecate, 1, {900, 300, 100, 100});
  EXPECT_THAT(plan.replicas.rows()[0], ElementsAre(1, 2, 3));
  EXPECT_THAT(plan.replicas.rows()[1], ElementsAre(0));
  EXPECT_THAT(plan.quotas.rows()[0], ElementsAre(900, 900, 900, 900))
      << "its own tokens stay on a rank";
  EXPECT_THAT(plan.quotas.rows()[1], ElementsAre(600, 600))
      << "ranks 2 and 3 have none near: evenly";
}

// The first expert was hot, and fills three of twelve slots; each other has one. Now the second is:
// it gets slots that are left where its tokens are many enough to be worth the wait.
TEST_F(Rules, HecateCalibratesWhereItPays) {
  for (const int32_t scale : {1, 20}) {
    std::vector<int32_t> before, now;
    for (int rank = 0; rank < 4; ++rank) {
      before.insert(before.end(), {1000, 10, 10, 10});
      now.insert(now.end(), {scale, 100 * scale, scale, scale});
    }
    const RuleInput input{topology_, owners_, 3};
    const LayerPlan plain = plan_hecate(input, {4, before}, {4, now});
    const LayerPlan plan = plan_hecate_calibrated(input, {4, before}, {4, now});
    EXPECT_EQ(plan.predicted, plain.predicted);
    EXPECT_EQ(plain.replicas[1].size(), 1u);
    EXPECT_EQ(plan.replicas[1].size(), scale == 20 ? 3u : 1u);
    EXPECT_EQ(plan.transfers, count_transfers(plan));
  }
}

// Algorithm 1 leaves a slot here that a second round would fill: there is nothing to calibrate yet.
TEST(HecateCalibrated, PredictsAsHecate) {
  std::vector<int32_t> tokens;
  for (int rank = 0; rank < 4; ++rank) {
    tokens.insert(tokens.end(), {3000, 3000, 3000, 1000, 0, 0, 0, 0});
  }
  const PolicySetup setup{Topology::uniform(1, 4), 1, 8, 2, block_owners(1, 8, 4)};
  std::vector<Replicas> predicted;
  for (const PolicyEntry& entry : placement_policies()) {
    if (entry.name == "hecate" || entry.name == "hecate_calibrated") {
      const auto policy = entry.make(setup);
      policy->observe(0, {8, tokens});
      policy->predict(0, predicted.emplace_back());
    }
  }
  ASSERT_EQ(predicted.size(), 2u);
  EXPECT_EQ(predicted[0], predicted[1]);
}

// Inside a node only: ranks 0 and 1 come to (4000 + 400) / 2 each, 2 and 3 stay.
TEST_F(Rules, UltraEpLevelsInsideItsDomain) {
  const LayerPlan inside = this->plan(plan_ultraep, 1, {1000, 100, 100, 200});
  EXPECT_THAT(inside.replicas.rows(),
              ElementsAre(ElementsAre(1), IsEmpty(), IsEmpty(), ElementsAre(2)));
  EXPECT_EQ(load(inside, 0), 2200);
  EXPECT_EQ(load(inside, 1), 2200);
  EXPECT_EQ(load(inside, 2), 600);
  const LayerPlan everywhere = this->plan(plan_ultraep_global, 1, {1000, 100, 100, 200});
  for (int32_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(load(everywhere, rank), 1400);
  }
}

// Two slots a rank for four experts on two nodes: each expert has a copy in each node, and no token
// leaves its own.
TEST_F(Rules, LaerHasACopyInEachNodeWhereTheyFit) {
  const LayerPlan plan = this->plan(plan_laer, 1, {700, 300, 200, 100});
  for (int expert = 0; expert < 4; ++expert) {
    std::vector<int> in_node(2, 0);
    for (size_t i = 0; i < plan.quotas[expert].size(); ++i) {
      const int32_t host = i == 0 ? plan.owners[expert] : plan.replicas[expert][i - 1];
      in_node[topology_.node_of(host)] += plan.quotas[expert][i] > 0 ? 1 : 0;
    }
    EXPECT_THAT(in_node, ElementsAre(1, 1)) << expert;
  }
  EXPECT_EQ(score_plan(plan, {4, tokens_}, topology_).inter_node, 0);
  EXPECT_EQ(plan.transfers, 8) << "every slot is filled anew";
}

// Eight slots, of which 4000 of 6400 tokens are worth five, the others one each: the first expert's
// four copies beside its owner's fill the slots in order, one of them its owner's own.
TEST_F(Rules, SymiGivesCopiesByShareInOrder) {
  const LayerPlan plan = this->plan(plan_symi, 1, {1000, 200, 200, 200});
  EXPECT_THAT(plan.replicas.rows(),
              ElementsAre(ElementsAre(1, 2, 3), IsEmpty(), IsEmpty(), IsEmpty()));
  EXPECT_THAT(plan.quotas.rows()[0], ElementsAre(1600, 800, 800, 800)) << "evenly over five copies";
  EXPECT_EQ(plan.transfers, 3);
}

/// A policy of one layer with four experts on two ranks, two owned by each, and what it plans from
/// the micro-batch after some.
class OneLayer : public ::testing::Test {
 protected:
  void see(PlacementPolicy& policy, const std::vector<int32_t>& tokens, int times = 1) {
    for (int i = 0; i < times; ++i) {
      policy.observe(0, {4, tokens});
    }
  }
  LayerPlan plan(PlacementPolicy& policy, const std::vector<int32_t>& tokens) {
    Replicas predicted;
    LayerPlan plan;
    policy.predict(0, predicted);
    policy.resolve(0, {4, tokens}, predicted, plan);
    return plan;
  }

  const PolicySetup setup_{Topology::uniform(1, 2), 1, 4, 1, block_owners(1, 4, 2)};
  const std::vector<int32_t> one_has_both_{50, 40, 1, 2, 50, 40, 1, 2};
};

// 100, 80, 2 and 4 tokens: the two most loaded experts part, the third goes to where the second is
// last, and the tenth micro-batch is what it takes.
TEST_F(OneLayer, SmartMoeMovesOwnersEveryTenMicroBatches) {
  const auto policy = make_smartmoe_policy(setup_);
  see(*policy, one_has_both_, 9);
  EXPECT_THAT(plan(*policy, one_has_both_).owners, ElementsAre(0, 0, 1, 1));
  see(*policy, one_has_both_);
  const LayerPlan moved = plan(*policy, one_has_both_);
  EXPECT_THAT(moved.owners, ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(moved.replicas.rows(), Each(IsEmpty()));
  see(*policy, one_has_both_, 10);
  EXPECT_EQ(plan(*policy, one_has_both_).owners, moved.owners) << "it would be no better";
}

// A copy of the first expert levels 186 tokens to 130 and 56; a second replica finds no slot.
TEST_F(OneLayer, FlexMoeExpandsWhatIsMostLoadedACopyAndKeepsIt) {
  const auto policy = make_flexmoe_policy(setup_);
  EXPECT_THAT(plan(*policy, one_has_both_).replicas.rows(), Each(IsEmpty()));
  see(*policy, one_has_both_);
  const Replicas expanded = plan(*policy, one_has_both_).replicas;
  EXPECT_THAT(expanded.rows(), ElementsAre(ElementsAre(1), IsEmpty(), IsEmpty(), IsEmpty()));
  see(*policy, {1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_EQ(plan(*policy, one_has_both_).replicas, expanded);
  see(*policy, {1, 50, 1, 1, 1, 50, 1, 1});
  EXPECT_THAT(plan(*policy, one_has_both_).replicas.rows(),
              ElementsAre(IsEmpty(), ElementsAre(1), IsEmpty(), IsEmpty()))
      << "the slot goes to who needs it more";
}

}  // namespace
}  // namespace enodia
