#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "parallel/placement/layer_plan.h"
#include "parallel/placement/static_placement.h"
#include "parallel/placement/token_split.h"

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Holders = std::vector<std::vector<int32_t>>;

TEST(ExpertPlacement, AnswersBothWays) {
  const auto placement = ExpertPlacement::create(3, Holders{{2, 0}, {1}, {2}});
  EXPECT_EQ(placement.num_experts(), 3);
  EXPECT_EQ(placement.world_size(), 3);
  EXPECT_EQ(placement.num_replicas(), 4);
  EXPECT_THAT(placement.ranks_of(0), ElementsAre(0, 2));
  EXPECT_THAT(placement.ranks_of(1), ElementsAre(1));
  EXPECT_THAT(placement.experts_on(0), ElementsAre(0));
  EXPECT_THAT(placement.experts_on(2), ElementsAre(0, 2));
  EXPECT_EQ(placement.first_replica(0), 0);
  EXPECT_EQ(placement.first_replica(1), 2);
  EXPECT_EQ(placement.first_replica(2), 3);
  EXPECT_EQ(placement.slot_of(2, 0), 0);
  EXPECT_EQ(placement.slot_of(2, 2), 1);
  EXPECT_EQ(placement.slot_of(2, 1), -1);
  EXPECT_EQ(placement.slot_of(0, 2), -1);
}

TEST(ExpertPlacement, LetsARankHoldNothing) {
  const auto placement = ExpertPlacement::create(3, Holders{{1}});
  EXPECT_THAT(placement.experts_on(0), IsEmpty());
  EXPECT_THAT(placement.experts_on(2), IsEmpty());
  EXPECT_EQ(placement.slot_of(2, 0), -1);
}

TEST(ExpertPlacement, RefusesWhatIsNotAPlacement) {
  EXPECT_THROW(ExpertPlacement::create(2, Holders{{0}, {}}), UsageError);
  EXPECT_THROW(ExpertPlacement::create(2, Holders{{2}}), UsageError);
  EXPECT_THROW(ExpertPlacement::create(2, Holders{{-1, 0}}), UsageError);
  EXPECT_THROW(ExpertPlacement::create(2, Holders{{1, 0, 1}}), UsageError);
}

TEST(ExpertPlacement, IgnoresTheOrderOfHolders) {
  const auto one = ExpertPlacement::create(3, Holders{{0, 2}, {1}});
  const auto other = ExpertPlacement::create(3, Holders{{2, 0}, {1}});
  EXPECT_EQ(one, other);
  EXPECT_EQ(one.hash(), other.hash());
}

TEST(ExpertPlacement, HashesDifferWhenAnythingDiffers) {
  // All placements of up to 3 experts on up to 3 ranks: 1 + 3 + 7 holder sets a world.
  std::set<uint64_t> hashes;
  size_t placements = 0;
  for (int world = 1; world <= 3; ++world) {
    const int sets = (1 << world) - 1;
    for (int experts = 1; experts <= 3; ++experts) {
      for (int code = 0; code < std::pow(sets, experts); ++code) {
        Holders holders(experts);
        for (int expert = 0, rest = code; expert < experts; ++expert, rest /= sets) {
          for (int32_t rank = 0; rank < world; ++rank) {
            if ((rest % sets + 1) >> rank & 1) {
              holders[expert].push_back(rank);
            }
          }
        }
        hashes.insert(ExpertPlacement::create(world, holders).hash());
        ++placements;
      }
    }
  }
  EXPECT_EQ(placements, 3u + 3 + 9 + 27 + 7 + 49 + 343);
  EXPECT_EQ(hashes.size(), placements);
}

TEST(ExpertPlacement, PrintsForPeople) {
  EXPECT_EQ(ExpertPlacement::create(3, Holders{{2, 0}, {1}}).to_string(), "0:[0,2] 1:[1]");
}

struct Sweep {
  int experts, ep, world;
  friend std::ostream& operator<<(std::ostream& out, const Sweep& s) {
    return out << "E " << s.experts << ", ep " << s.ep << ", world " << s.world;
  }
};

std::vector<Sweep> sweep() {
  std::vector<Sweep> cases;
  for (int world = 1; world <= 8; ++world) {
    for (int ep = 1; ep <= world; ++ep) {
      for (int experts = 1; world % ep == 0 && experts <= 13; ++experts) {
        cases.push_back({experts, ep, world});
      }
    }
  }
  return cases;
}

/// max - min.
template <typename T>
T spread(const std::vector<T>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return *high - *low;
}

TEST(StaticPlacement, GivesEveryExpertAHomeInEveryGroup) {
  for (const Sweep& s : sweep()) {
    for (const StaticLayer& layer : static_placement(7, s.experts, s.ep, s.world)) {
      ASSERT_EQ(layer.homes.num_experts(), s.experts) << s;
      ASSERT_EQ(layer.homes.world_size(), s.ep) << s;
      const ExpertPlacement world_homes = layer.world_homes(s.world);
      ASSERT_EQ(world_homes.num_replicas(), layer.homes.num_replicas() * (s.world / s.ep)) << s;
      for (int expert = 0; expert < s.experts; ++expert) {
        for (int rank = 0; rank < s.world; ++rank) {
          ASSERT_EQ(world_homes.slot_of(rank, expert), layer.homes.slot_of(rank % s.ep, expert))
              << s << ", expert " << expert << ", rank " << rank;
        }
      }
    }
  }
}

TEST(StaticPlacement, SpreadsHomesEvenly) {
  for (const Sweep& s : sweep()) {
    std::vector<int> homes_of_rank(s.ep, 0);
    for (const StaticLayer& layer : static_placement(7, s.experts, s.ep, s.world)) {
      std::vector<size_t> homes_of_expert;
      std::vector<size_t> in_layer;
      for (int expert = 0; expert < s.experts; ++expert) {
        homes_of_expert.push_back(layer.homes.ranks_of(expert).size());
      }
      for (int rank = 0; rank < s.ep; ++rank) {
        in_layer.push_back(layer.homes.experts_on(rank).size());
        homes_of_rank[rank] += static_cast<int>(in_layer.back());
      }
      if (s.experts >= s.ep) {
        ASSERT_THAT(homes_of_expert, testing::Each(1)) << s;
      } else {
        ASSERT_THAT(in_layer, testing::Each(1)) << s;
      }
      ASSERT_LE(spread(homes_of_expert), 1u) << s;
      ASSERT_LE(spread(in_layer), 1u) << s;
      ASSERT_LE(spread(homes_of_rank), 1) << s << ", over the layers so far";
    }
  }
}

TEST(StaticPlacement, ChoosesOwnersAmongHomes) {
  for (const Sweep& s : sweep()) {
    for (const StaticLayer& layer : static_placement(7, s.experts, s.ep, s.world)) {
      ASSERT_EQ(layer.owners.size(), static_cast<size_t>(s.experts)) << s;
      const ExpertPlacement world_homes = layer.world_homes(s.world);
      for (int expert = 0; expert < s.experts; ++expert) {
        ASSERT_GE(world_homes.slot_of(layer.owners[expert], expert), 0) << s;
      }
    }
  }
}

TEST(StaticPlacement, SpreadsOwnersEvenlyOverAllLayers) {
  for (const Sweep& s : sweep()) {
    for (int num_layers = 1; num_layers <= 7; ++num_layers) {
      std::vector<int> owned(s.world, 0);
      for (const StaticLayer& layer : static_placement(num_layers, s.experts, s.ep, s.world)) {
        for (const int32_t owner : layer.owners) {
          ++owned[owner];
        }
      }
      EXPECT_LE(spread(owned), 1) << s << ", " << num_layers
                                  << " layers: " << testing::PrintToString(owned);
    }
  }
}

TEST(StaticPlacement, RefusesGroupsThatDoNotFillTheWorld) {
  EXPECT_THROW(static_placement(1, 4, 2, 3), UsageError);
  EXPECT_THROW(static_placement(1, 0, 2, 4), UsageError);
  EXPECT_THROW(static_placement(1, 4, 0, 4), UsageError);
}

TEST(PlanMode, SaysHowAPlanCameToBe) {
  LayerPlan plan;
  plan.owners = {0, 1};
  plan.predicted = {{2, 3}, {}};
  plan.replicas = Replicas(2);
  EXPECT_EQ(mode_of(plan), PlanMode::kOff);
  plan.replicas = {{3}, {}};
  EXPECT_EQ(mode_of(plan), PlanMode::kPredicted);
  plan.replicas = {{3}, {2}};
  EXPECT_EQ(mode_of(plan), PlanMode::kPatched);
  plan.exact = true;
  EXPECT_EQ(mode_of(plan), PlanMode::kExact);
}

TEST(EvenPlan, SplitsTokensEvenlyOverReplicas) {
  const auto placement = ExpertPlacement::create(4, Holders{{0, 1, 2}, {3}, {0, 3}});
  const ExpertPlan plan = even_plan(placement, std::vector<int64_t>{8, 5, 0});
  ASSERT_EQ(plan.placement, placement);
  ASSERT_EQ(plan.quota.size(), 6u);
  const std::vector<int64_t> first(plan.quota.begin(), plan.quota.begin() + 3);
  EXPECT_EQ(std::accumulate(first.begin(), first.end(), int64_t{0}), 8);
  EXPECT_EQ(spread(first), 1);
  EXPECT_EQ(plan.quota[3], 5);
  EXPECT_EQ(plan.quota[4], 0);
  EXPECT_EQ(plan.quota[5], 0);
}

/// One expert's tokens of each rank, its hosts and their quotas.
struct Split {
  std::vector<int32_t> nodes;
  std::vector<int64_t> tokens;
  std::vector<int32_t> hosts;
  std::vector<int64_t> quotas;

  Topology topology() const { return Topology(nodes); }
  std::vector<ReplicaShare> of(int rank) const {
    const Topology places = topology();
    std::vector<int64_t> of_nodes(places.num_nodes(), 0), of_ranks;
    for (int r = 0; r < places.num_ranks(); ++r) {
      of_nodes[nodes[r]] += tokens[r];
      if (nodes[r] == nodes[rank]) {
        of_ranks.push_back(tokens[r]);
      }
    }
    std::vector<ReplicaShare> shares;
    split_tokens(places, rank, {hosts, quotas, of_nodes, of_ranks}, shares);
    return shares;
  }
};

Split draw_split(std::mt19937& random) {
  Split split;
  const int ranks = 1 + static_cast<int>(random() % 8);
  split.nodes.push_back(0);
  while (std::ssize(split.nodes) < ranks) {
    split.nodes.push_back(split.nodes.back() + (random() % 3 == 0 ? 1 : 0));
  }
  int64_t total = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    split.tokens.push_back(random() % 3 == 0 ? 0 : static_cast<int64_t>(random() % 50));
    total += split.tokens.back();
    if (random() % 2 == 0 || (rank + 1 == ranks && split.hosts.empty())) {
      split.hosts.push_back(rank);
    }
  }
  for (size_t host = 0; host + 1 < split.hosts.size(); ++host) {
    split.quotas.push_back(static_cast<int64_t>(random() % (total + 1)));
    total -= split.quotas.back();
  }
  split.quotas.push_back(total);
  return split;
}

TEST(TokenSplit, FillsEachQuotaAndCrossesNodesNoMoreThanItMust) {
  std::mt19937 random(8);
  for (int repeat = 0; repeat < 2000; ++repeat) {
    const Split split = draw_split(random);
    const int num_nodes = split.topology().num_nodes();
    std::vector<int64_t> filled(split.hosts.size(), 0), room(num_nodes, 0);
    for (size_t host = 0; host < split.hosts.size(); ++host) {
      room[split.nodes[split.hosts[host]]] += split.quotas[host];
    }
    std::vector<int64_t> crossing(num_nodes, 0), of_node(num_nodes, 0);
    for (int rank = 0; rank < std::ssize(split.nodes); ++rank) {
      int64_t sent = 0;
      for (const ReplicaShare& share : split.of(rank)) {
        ASSERT_GT(share.tokens, 0);
        sent += share.tokens;
        filled[share.replica] += share.tokens;
        const bool crosses = split.nodes[split.hosts[share.replica]] != split.nodes[rank];
        crossing[split.nodes[rank]] += crosses ? share.tokens : 0;
      }
      EXPECT_EQ(sent, split.tokens[rank]);
      of_node[split.nodes[rank]] += split.tokens[rank];
    }
    EXPECT_EQ(filled, split.quotas);
    for (int node = 0; node < num_nodes; ++node) {
      EXPECT_EQ(crossing[node], std::max<int64_t>(0, of_node[node] - room[node]));
    }
  }
}

TEST(TokenSplit, PrefersTheRankItselfThenItsNode) {
  const Split split{{0, 0, 1, 1}, {10, 10, 10, 0}, {0, 1, 3}, {14, 6, 10}};
  EXPECT_THAT(split.of(0), testing::ElementsAre(ReplicaShare{0, 10}));
  EXPECT_THAT(split.of(1), testing::ElementsAre(ReplicaShare{1, 6}, ReplicaShare{0, 4}));
  EXPECT_THAT(split.of(2), testing::ElementsAre(ReplicaShare{2, 10}));
}

}  // namespace
}  // namespace enodia
