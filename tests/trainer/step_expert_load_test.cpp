#include <algorithm>
#include <cmath>
#include <random>

#include <gmock/gmock.h>

#include "trainer/step/expert_load.h"

namespace enodia {
namespace {

using testing::DoubleNear;
using testing::IsEmpty;

/// One layer on one rank.
StepLoad one_layer(std::vector<int64_t> tokens, double entropy = 0) {
  StepLoad load;
  load.num_experts = static_cast<int64_t>(tokens.size());
  load.tokens = std::move(tokens);
  load.rows = {7};
  load.entropy = {entropy};
  return load;
}

/// By its definition: of n sorted values, value i lies at share i / (n - 1).
double percentile_by_search(std::vector<int64_t> tokens, double share) {
  std::sort(tokens.begin(), tokens.end());
  const auto last = static_cast<double>(tokens.size() - 1);
  for (size_t i = 1; i < tokens.size(); ++i) {
    const double low = static_cast<double>(i - 1) / last, high = static_cast<double>(i) / last;
    if (share <= high) {
      const double part = (share - low) / (high - low);
      return (1 - part) * static_cast<double>(tokens[i - 1]) +
             part * static_cast<double>(tokens[i]);
    }
  }
  return static_cast<double>(tokens[0]);
}

TEST(ExpertLoad, IsWhatCountingEachExpertGives) {
  std::mt19937 random(5);
  for (const int64_t experts : {1, 2, 3, 8, 64}) {
    for (int draw = 0; draw < 20; ++draw) {
      StepLoad load;
      load.first_layer = 2;
      load.num_experts = experts;
      for (int64_t i = 0; i < 3 * experts; ++i) {
        const auto zipf = static_cast<int64_t>(random() % 100);
        load.tokens.push_back(zipf < 30 ? 0 : zipf * zipf / 50);
      }
      load.tokens[0] = load.tokens[experts] = load.tokens[2 * experts] = 10;  // no layer is empty
      load.rows = {1, 2, 3};
      load.entropy = {0.5, 0.25, 0.125};
      const std::vector<LayerLoad> layers = summarize(load);
      ASSERT_EQ(layers.size(), 3);
      for (int64_t layer = 0; layer < 3; ++layer) {
        const std::vector<int64_t> tokens(load.tokens.begin() + layer * experts,
                                          load.tokens.begin() + (layer + 1) * experts);
        double total = 0, largest = 0;
        for (const int64_t count : tokens) {
          total += static_cast<double>(count);
          largest = std::max(largest, static_cast<double>(count));
        }
        const double mean = total / static_cast<double>(experts);
        int64_t dead = 0, hot = 0;
        for (const int64_t count : tokens) {
          dead += count == 0 ? 1 : 0;
          hot += static_cast<double>(count) / mean > 2.0 ? 1 : 0;
        }
        const LayerLoad& found = layers[layer];
        EXPECT_EQ(found.layer, 2 + layer);
        EXPECT_EQ(found.dead, dead);
        EXPECT_EQ(found.hot, hot);
        EXPECT_THAT(found.p10, DoubleNear(percentile_by_search(tokens, 0.1) / mean, 1e-12));
        EXPECT_THAT(found.p50, DoubleNear(percentile_by_search(tokens, 0.5) / mean, 1e-12));
        EXPECT_THAT(found.p90, DoubleNear(percentile_by_search(tokens, 0.9) / mean, 1e-12));
        EXPECT_THAT(found.max_violation, DoubleNear(largest / mean - 1.0, 1e-12));
        EXPECT_EQ(found.entropy, load.entropy[layer]);
      }
    }
  }
}

TEST(ExpertLoad, OfAllTokensOnOneExpert) {
  const LayerLoad found = summarize(one_layer({0, 0, 0, 40, 0, 0, 0, 0})).at(0);
  EXPECT_EQ(found.max_violation, 7.0);
  EXPECT_EQ(found.dead, 7);
  EXPECT_EQ(found.hot, 1);
  EXPECT_EQ(found.p50, 0.0);
  EXPECT_EQ(imbalance_of(one_layer({0, 0, 0, 40, 0, 0, 0, 0})).expert, 8.0);
}

TEST(ExpertLoad, OfTwiceTheMeanIsNotHot) {
  EXPECT_EQ(summarize(one_layer({4, 2, 0, 2})).at(0).hot, 0);
  EXPECT_EQ(summarize(one_layer({5, 1, 1, 2})).at(0).hot, 1);
}

TEST(ExpertLoad, OfALayerWithoutTokensIsEven) {
  const LayerLoad found = summarize(one_layer({0, 0, 0})).at(0);
  EXPECT_EQ(found.p10, 1.0);
  EXPECT_EQ(found.p90, 1.0);
  EXPECT_EQ(found.max_violation, 0.0);
  EXPECT_EQ(found.dead, 0);
  EXPECT_EQ(found.hot, 0);
  EXPECT_EQ(imbalance_of(one_layer({0, 0, 0})).expert, 1.0);
}

TEST(ExpertLoad, OfADenseModelIsNothing) {
  EXPECT_THAT(summarize({}), IsEmpty());
  EXPECT_EQ(imbalance_of({}).expert, 1.0);
  EXPECT_EQ(imbalance_of({}).rank, 1.0);
}

TEST(ExpertLoad, RelatesEntropyToThatOfAnUndecidedRouter) {
  EXPECT_DOUBLE_EQ(summarize(one_layer({1, 1, 1, 1}, std::log(2))).at(0).normalized_entropy, 0.5);
  EXPECT_DOUBLE_EQ(summarize(one_layer({3}, 0.0)).at(0).normalized_entropy, 1.0);
}

TEST(Imbalance, AveragesTheLayersOfExpertsAndOfRanks) {
  StepLoad load;
  load.num_experts = 2;
  load.tokens = {1, 3, 2, 2};
  load.rows = {6, 0, 0, 3, 3, 0};
  load.entropy = {0, 0};
  EXPECT_DOUBLE_EQ(imbalance_of(load).expert, (1.5 + 1.0) / 2);
  EXPECT_DOUBLE_EQ(imbalance_of(load).rank, (3.0 + 1.5) / 2);
}

}  // namespace
}  // namespace enodia
