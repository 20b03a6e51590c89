#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "parallel/placement/static_placement.h"

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

}  // namespace
}  // namespace enodia
