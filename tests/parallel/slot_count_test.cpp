#include "parallel/placement/slot_count.h"

#include <gtest/gtest.h>

#include "parallel/placement/expert_stripes.h"

namespace enodia {
namespace {

constexpr int kRanks = 4;

PlacementOptions options_of(const char* policy, int extra_slots, int stripes = 1) {
  PlacementOptions options{.extra_slots = extra_slots, .stripes = stripes};
  for (const PolicyEntry& entry : placement_policies()) {
    options.policy = entry.name == policy ? &entry : options.policy;
  }
  return options;
}

TEST(ExpertStripes, RunsOfRanksOwnStripesTogether) {
  EXPECT_EQ(owner_of_stripe(5, 0, 1), 5);
  EXPECT_EQ(owner_of_stripe(5, 0, 4), 4);
  EXPECT_EQ(owner_of_stripe(5, 3, 4), 7);
  EXPECT_EQ(stripe_of_rank(7, 4), 3);
  EXPECT_TRUE(owns_stripe(7, 5, 4));
  EXPECT_FALSE(owns_stripe(3, 5, 4));
  EXPECT_FALSE(owns_stripe(4, 5, 1));
}

TEST(SlotCount, SlotsBeyondAllExpertsAreOfNoUse) {
  EXPECT_EQ(useful_slots(3, 8, 4), 3);
  EXPECT_EQ(useful_slots(65536, 8, 4), 6);
  EXPECT_EQ(useful_slots(65536, 3, 4), 3);
}

TEST(SlotCount, RowsOfAllRanksAreEveryExpertOnce) {
  const auto layers = static_placement(3, 10, kRanks, kRanks);
  for (const int stripes : {1, 2, 4}) {
    int64_t owned = 0;
    for (int rank = 0; rank < kRanks; ++rank) {
      const RowCount rows = count_rows(layers, stripes, kRanks, rank);
      EXPECT_EQ(rows.replicas, 0);
      owned += rows.owned;
    }
    EXPECT_EQ(owned, 3 * 10 * stripes);
  }
}

TEST(SlotCount, PermanentReplicasAreOfWholeExperts) {
  const auto layers = static_placement(1, 8, 2, kRanks);  // each expert at home on two ranks
  const RowCount rows = count_rows(layers, 1, kRanks, 0);
  EXPECT_EQ(rows.owned + rows.replicas, 4);
  EXPECT_EQ(count_rows(layers, 2, kRanks, 0).replicas, 0);
  EXPECT_EQ(count_slots(layers, {}, kRanks, 0, 2, 0).weights, 0);
  EXPECT_EQ(count_slots(layers, {.stripes = 2}, kRanks, 0, 2, 0), (SlotCount{8, 8}));
}

TEST(SlotCount, ExpertsAtHomeTakeSlotsWhereOwnersHaveStripes) {
  const auto layers = static_placement(3, 8, kRanks, kRanks);
  EXPECT_EQ(count_slots(layers, options_of("enodia", 3), kRanks, 1, 1, 0), (SlotCount{6, 6}));
  EXPECT_EQ(count_slots(layers, options_of("enodia", 3, 2), kRanks, 1, 1, 0), (SlotCount{10, 10}));
  EXPECT_EQ(count_slots(layers, options_of("enodia", 3, 2), kRanks, 1, 1, 3), (SlotCount{15, 10}));
  EXPECT_EQ(layers_that_fit(layers, options_of("enodia", 3), kRanks, 9), 3);
  EXPECT_EQ(layers_that_fit(layers, options_of("enodia", 3, 2), kRanks, 9), 1);
}

}  // namespace
}  // namespace enodia
