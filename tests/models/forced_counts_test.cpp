#include "models/router/forced_counts.h"

#include <numeric>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/sort.h>
#include <gmock/gmock.h>

namespace enodia {
namespace {

using ::testing::ElementsAre;

std::vector<int64_t> spread(const std::vector<int32_t>& counts, int64_t tokens, int64_t chosen) {
  return spread_copies(counts, tokens, chosen);
}

TEST(ForcedCounts, RepeatWhatIsPossible) {
  EXPECT_THAT(spread({5, 0, 3, 2}, 5, 2), ElementsAre(5, 0, 3, 2));
}

TEST(ForcedCounts, ScaleToTheTokensAtHand) {
  EXPECT_THAT(spread({50, 0, 30, 20}, 5, 2), ElementsAre(5, 0, 3, 2));
  EXPECT_THAT(spread({1, 1, 1}, 5, 1), ElementsAre(2, 2, 1));  // ties to the smaller expert
  EXPECT_THAT(spread({7, 2, 1}, 0, 2), ElementsAre(0, 0, 0));
}

TEST(ForcedCounts, GiveNoTokenTwiceToAnExpert) {
  EXPECT_THAT(spread({98, 1, 1}, 10, 2), ElementsAre(10, 5, 5));
  EXPECT_THAT(spread({9, 0, 0}, 4, 2), ElementsAre(4, 2, 2));  // the others as if alike
  EXPECT_THAT(spread({0, 0}, 3, 2), ElementsAre(3, 3));
}

TEST(ForcedCounts, PreferencesHaveJustTheseCopies) {
  const std::vector<int64_t> copies = spread({98, 40, 3, 7, 0, 52}, 33, 2);
  const at::Tensor preferences =
      counted_preferences(copies, 33, at::TensorOptions().dtype(at::kFloat));
  const at::Tensor chosen = preferences.gt(0);
  EXPECT_EQ(chosen.sum(1).min().item<int64_t>(), 2);
  EXPECT_EQ(chosen.sum(1).max().item<int64_t>(), 2);
  for (int64_t expert = 0; expert < 6; ++expert) {
    EXPECT_EQ(chosen.select(1, expert).sum().item<int64_t>(), copies[expert]) << expert;
  }
}

TEST(ForcedCounts, SamplesFollowMicroBatchesAndBeginAnew) {
  ForcedCounts counts{.samples = 3, .layers = 2, .ranks = 2, .experts = 2, .micro_batches = 2};
  counts.counts.resize(24);
  std::iota(counts.counts.begin(), counts.counts.end(), 0);
  EXPECT_THAT(counts.of(0, 0, 0, 0), ElementsAre(0, 1));
  EXPECT_THAT(counts.of(0, 1, 1, 1), ElementsAre(14, 15));
  EXPECT_THAT(counts.of(1, 0, 0, 1), ElementsAre(18, 19));  // the third
  EXPECT_THAT(counts.of(1, 1, 2, 0), ElementsAre(0, 1));    // the first, of the first layer
}

}  // namespace
}  // namespace enodia
