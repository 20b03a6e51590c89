#include "parallel/placement/owner_resharding.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <gmock/gmock.h>

#include "common/error.h"
#include "parallel/placement/load_history.h"
#include "parallel/placement/static_placement.h"

namespace enodia {
namespace {

using testing::ElementsAre;

struct ReshardingProblem {
  ExpertOwners owners;
  ExpertLoads loads;
  Topology topology;
};

/// Ranks on nodes of random sizes, experts with shares 1, 1/2, 1/3 ... in random order.
ReshardingProblem random_resharding(int world, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> nodes{0};
  while (std::ssize(nodes) < world) {
    nodes.push_back(nodes.back() + (random() % 3 == 0 ? 1 : 0));
  }
  const int layers = 1 + static_cast<int>(random() % 5);
  const int experts = 1 + static_cast<int>(random() % 24);
  ExpertLoads loads;
  for (int layer = 0; layer < layers; ++layer) {
    std::vector<int64_t>& load = loads.emplace_back();
    for (int expert = 0; expert < experts; ++expert) {
      load.push_back(static_cast<int64_t>(random() % 100) + 100000 / (expert + 1));
    }
    std::shuffle(load.begin(), load.end(), random);
  }
  return {owners_of(without_replicas(static_placement(layers, experts, world, world))),
          loads,
          Topology(nodes)};
}

template <typename Visit>
void for_random_problems(const Visit& visit) {
  for (int world = 1; world <= 8; ++world) {
    for (unsigned seed = 0; seed < 25; ++seed) {
      SCOPED_TRACE("world " + std::to_string(world) + ", seed " + std::to_string(seed));
      visit(random_resharding(world, 100 * world + seed));
    }
  }
}

/// [layers][ranks] tokens, or experts without loads.
ExpertLoads of_ranks(const ReshardingProblem& p, const ExpertOwners& owners) {
  ExpertLoads sums(owners.size(), std::vector<int64_t>(p.topology.num_ranks(), 0));
  for (size_t layer = 0; layer < owners.size(); ++layer) {
    for (size_t expert = 0; expert < owners[layer].size(); ++expert) {
      sums[layer].at(owners[layer][expert]) += p.loads[layer][expert];
    }
  }
  return sums;
}

/// Of each layer's slowest rank, as a part of the layer's tokens; summed.
double slowest(const ReshardingProblem& p, const ExpertOwners& owners) {
  double sum = 0;
  for (const std::vector<int64_t>& layer : of_ranks(p, owners)) {
    sum += static_cast<double>(*std::max_element(layer.begin(), layer.end())) /
           static_cast<double>(std::accumulate(layer.begin(), layer.end(), int64_t{0}));
  }
  return sum;
}

/// Of a layer's slowest rank no owners can make less.
double least_possible(const ReshardingProblem& p) {
  double sum = 0;
  for (const std::vector<int64_t>& layer : p.loads) {
    const auto total = static_cast<double>(std::accumulate(layer.begin(), layer.end(), int64_t{0}));
    sum += std::max(static_cast<double>(*std::max_element(layer.begin(), layer.end())) / total,
                    1.0 / p.topology.num_ranks());
  }
  return sum;
}

std::vector<int> owned(const ExpertOwners& owners, int ranks) {
  std::vector<int> counts(ranks, 0);
  for (const std::vector<int32_t>& layer : owners) {
    for (const int32_t owner : layer) {
      ++counts.at(owner);
    }
  }
  return counts;
}

TEST(OwnerResharding, LeavesEachRankAsManyExpertsOfAllLayersAsBefore) {
  int uneven_layers = 0;
  for_random_problems([&](const ReshardingProblem& p) {
    const Resharding made = reshard(p.owners, p.loads, p.topology, 0.01);
    const int ranks = p.topology.num_ranks();
    const std::vector<int> counts = owned(made.owners, ranks);
    EXPECT_EQ(counts, owned(p.owners, ranks));
    EXPECT_LE(*std::max_element(counts.begin(), counts.end()),
              *std::min_element(counts.begin(), counts.end()) + 1);
    for (const std::vector<int32_t>& layer : made.owners) {
      const std::vector<int> of_layer = owned({layer}, ranks);
      uneven_layers += *std::max_element(of_layer.begin(), of_layer.end()) >
                               *std::min_element(of_layer.begin(), of_layer.end()) + 1
                           ? 1
                           : 0;
    }
  });
  EXPECT_GT(uneven_layers, 50) << "owners are heterogeneous, layer by layer";
}

TEST(OwnerResharding, TellsWhatMovesAndWhatItGains) {
  int moving = 0;
  for_random_problems([&](const ReshardingProblem& p) {
    const Resharding made = reshard(p.owners, p.loads, p.topology, 0.01);
    int64_t moved = 0;
    for (size_t layer = 0; layer < p.owners.size(); ++layer) {
      for (size_t expert = 0; expert < p.owners[layer].size(); ++expert) {
        moved += made.owners[layer][expert] != p.owners[layer][expert] ? 1 : 0;
      }
    }
    EXPECT_EQ(made.moved, moved);
    EXPECT_NEAR(made.gain, 1 - slowest(p, made.owners) / slowest(p, p.owners), 1e-4);
    if (moved > 0) {
      EXPECT_GE(made.gain, 0.01);
      ++moving;
    }
  });
  EXPECT_GT(moving, 100);
}

TEST(OwnerResharding, LevelsTheRanks) {
  double before = 0;
  double after = 0;
  double bound = 0;
  for_random_problems([&](const ReshardingProblem& p) {
    before += slowest(p, p.owners);
    after += slowest(p, reshard(p.owners, p.loads, p.topology, 0.001).owners);
    bound += least_possible(p);
  });
  EXPECT_GT(before, 1.1 * bound);
  EXPECT_LT(after, 1.03 * bound);
}

TEST(OwnerResharding, DecidesAlikeAndMovesNothingASecondTime) {
  for_random_problems([](const ReshardingProblem& p) {
    const Resharding made = reshard(p.owners, p.loads, p.topology, 0.02);
    EXPECT_EQ(made.owners, reshard(p.owners, p.loads, p.topology, 0.02).owners);
    const Resharding again = reshard(made.owners, p.loads, p.topology, 0.02);
    EXPECT_EQ(again.owners, made.owners);
    EXPECT_EQ(again.moved, 0);
  });
}

TEST(OwnerResharding, MovesNoMoreTheMoreItMustGain) {
  int64_t before = 0;
  for (const double least_gain : {0.3, 0.1, 0.03, 0.0}) {
    int64_t moved = 0;
    for_random_problems([&](const ReshardingProblem& p) {
      moved += reshard(p.owners, p.loads, p.topology, least_gain).moved;
    });
    EXPECT_GT(moved, before) << least_gain;
    before = moved;
  }
}

TEST(OwnerResharding, WaitsForTheGainAndMovesAsFewAsItCan) {
  const ExpertOwners owners{{0, 0, 1, 1}};
  const ExpertLoads loads{{60, 64, 50, 46}};  // 124 and 96; 110 after the exchange of 64 and 50
  const Topology topology = Topology::uniform(1, 2);
  const Resharding made = reshard(owners, loads, topology, 0.10);
  EXPECT_THAT(made.owners, ElementsAre(ElementsAre(0, 1, 0, 1)));
  EXPECT_EQ(made.moved, 2);
  EXPECT_NEAR(made.gain, 14.0 / 124, 1e-4);
  EXPECT_EQ(reshard(owners, loads, topology, 0.12).owners, owners);
  EXPECT_EQ(reshard(owners, {{7, 7, 7, 7}}, topology, 0).owners, owners);
  EXPECT_EQ(reshard(owners, {{0, 0, 0, 0}}, topology, 0).owners, owners);
}

// One expert has half of a layer's tokens: alone on its rank it leaves the other rank even, and in
// the other layer the first rank makes up for it.
TEST(OwnerResharding, GivesARankFewOfOneLayerAndManyOfAnother) {
  const ExpertOwners owners{{0, 0, 1, 1}, {0, 0, 1, 1}};
  const ExpertLoads loads{{6, 2, 2, 2}, {2, 2, 2, 6}};
  const Resharding made = reshard(owners, loads, Topology::uniform(1, 2), 0.03);
  EXPECT_THAT(made.owners, ElementsAre(ElementsAre(0, 1, 1, 1), ElementsAre(0, 0, 0, 1)));
  EXPECT_EQ(made.moved, 2);
  EXPECT_NEAR(made.gain, 0.25, 1e-4);
}

// Of two ways to level the ranks that are equally good, the one that levels the nodes.
TEST(OwnerResharding, LevelsNodesToo) {
  const auto of_nodes = [](const ReshardingProblem& p, const ExpertOwners& owners) {
    double sum = 0;
    for (const std::vector<int64_t>& layer : of_ranks(p, owners)) {
      std::vector<double> mean(p.topology.num_nodes(), 0);
      for (int rank = 0; rank < p.topology.num_ranks(); ++rank) {
        const int node = p.topology.node_of(rank);
        mean[node] += static_cast<double>(layer[rank]) /
                      (p.topology.first_rank(node + 1) - p.topology.first_rank(node));
      }
      sum += *std::max_element(mean.begin(), mean.end());
    }
    return sum;
  };
  double with = 0;
  double without = 0;
  for_random_problems([&](const ReshardingProblem& p) {
    with += of_nodes(p, reshard(p.owners, p.loads, p.topology, 0.001).owners);
    without += of_nodes(
        p, reshard(p.owners, p.loads, Topology::uniform(1, p.topology.num_ranks()), 0.001).owners);
  });
  EXPECT_LT(with, 0.98 * without);
}

TEST(OwnerResharding, RefusesWhatDoesNotFit) {
  const Topology topology = Topology::uniform(1, 2);
  EXPECT_THROW(reshard({{0, 1}}, {}, topology, 0), UsageError);
  EXPECT_THROW(reshard({{0, 1}}, {{1, 2, 3}}, topology, 0), UsageError);
  EXPECT_THROW(reshard({{0, 2}}, {{1, 2}}, topology, 0), UsageError);
}

TEST(LoadHistory, ForgetsAnEighthAStep) {
  LoadHistory history(2, 2);
  history.add(std::vector<int64_t>{800, 80, 8, 0});
  EXPECT_THAT(history.loads(), ElementsAre(ElementsAre(800, 80), ElementsAre(8, 0)));
  history.add(std::vector<int64_t>{0, 100, 0, 5});
  EXPECT_THAT(history.loads(), ElementsAre(ElementsAre(700, 170), ElementsAre(7, 5)));
  EXPECT_THROW(history.add(std::vector<int64_t>{1, 2, 3}), UsageError);
  EXPECT_THROW(history.add(std::vector<int64_t>{1, 2, 3, 4, 5}), UsageError);
}

TEST(LoadHistory, GoesOnFromWhatIsALoad) {
  LoadHistory history(1, 2);
  EXPECT_TRUE(history.restore({{5, 6}}));
  for (const ExpertLoads& other : {ExpertLoads{}, {{1}}, {{1, 2}, {3, 4}}, {{1, -1}}}) {
    EXPECT_FALSE(history.restore(other));
  }
  EXPECT_FALSE(history.restore({{1, std::numeric_limits<int64_t>::max()}}));
  EXPECT_THAT(history.loads(), ElementsAre(ElementsAre(5, 6)));
}

}  // namespace
}  // namespace enodia
