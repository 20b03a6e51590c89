#include <cmath>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "tests/trainer/data_fixtures.h"
#include "trainer/data/blend.h"
#include "trainer/data/blended_sampler.h"

namespace enodia {
namespace {

using testing::ElementsAre;

Blend blend_of(std::vector<double> weights) {
  return Blend(weights);
}

std::vector<int64_t> sources_of(const Blend& blend, int64_t count) {
  std::vector<int64_t> sources;
  for (int64_t i = 0; i < count; ++i) {
    sources.push_back(blend.place(i).source);
  }
  return sources;
}

/// The largest distance, over the first `count` samples, of a source's count from its weight, and
/// that samples are numbered one by one.
double farthest(const Blend& blend, const std::vector<double>& weights, int64_t count) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<int64_t> taken(weights.size(), 0);
  double largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Blend::Place place = blend.place(i);
    EXPECT_EQ(place.number, taken.at(place.source)++);
    for (size_t s = 0; s < weights.size(); ++s) {
      const double due = static_cast<double>(i + 1) * weights[s] / sum;
      largest = std::max(largest, std::abs(static_cast<double>(taken[s]) - due));
    }
  }
  return largest;
}

TEST(Blend, SpreadsSourcesByTheirWeights) {
  EXPECT_THAT(sources_of(blend_of({1}), 3), ElementsAre(0, 0, 0));
  EXPECT_THAT(sources_of(blend_of({2, 2}), 4), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(sources_of(blend_of({0.5, 0.25, 0.25}), 4), ElementsAre(0, 1, 0, 2));
  EXPECT_THAT(sources_of(blend_of({0.25, 0.75}), 8), ElementsAre(1, 1, 0, 1, 1, 1, 0, 1));
}

TEST(Blend, FindsTheSmallestExactCycle) {
  EXPECT_THAT(blend_of({0.7, 0.3}).shares(), ElementsAre(7, 3));
  EXPECT_THAT(blend_of({3e300, 1e300}).shares(), ElementsAre(3, 1));
  EXPECT_THAT(blend_of({1, 2.5, 1e-3}).shares(), ElementsAre(1000, 2500, 1));
  EXPECT_THAT(blend_of({1.0 / 3, 1.0 / 7, 11.0 / 21}).shares(), ElementsAre(7, 3, 11));
  EXPECT_EQ(blend_of({std::sqrt(2.0), 1}).cycle(), int64_t{1} << 20) << "there is none";
}

TEST(Blend, KeepsEverySourceWithinOneSampleOfItsWeight) {
  std::mt19937_64 engine(5);
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<double> weights;
    for (size_t k = 1 + engine() % 12; k > 0; --k) {
      const auto weight = static_cast<double>(1 + engine() % 1000);
      weights.push_back(engine() % 3 == 0 ? weight * 50 : weight);
    }
    ASSERT_LT(farthest(Blend(weights), weights, 20000), 1.0) << trial;
  }
  std::vector<double> many(40, 1.0);
  many.push_back(400.0);
  EXPECT_LT(farthest(Blend(many), many, 5000), 1.0);
}

TEST(Blend, RoundsWeightsWithoutAShortCycleByLessThanAMillionth) {
  const std::vector<double> weights = {std::sqrt(2.0), std::exp(1.0), 1e-5};
  const Blend blend(weights);
  EXPECT_LT(farthest(blend, weights, 300000), 1.3);  // 300000 samples x rounding of at most 2^-20
  const double sum = weights[0] + weights[1] + weights[2];
  for (size_t i = 0; i < weights.size(); ++i) {
    const double share =
        static_cast<double>(blend.shares()[i]) / static_cast<double>(blend.cycle());
    EXPECT_NEAR(share, weights[i] / sum, 1e-6);
  }
}

TEST(Blend, FindsAnySampleWithoutThoseBeforeIt) {
  const Blend blend = blend_of({5, 3, 1});
  const int64_t far = 9 * (int64_t{1} << 40);
  for (int64_t i = 0; i < 30; ++i) {
    const Blend::Place near = blend.place(i);
    const int64_t share = blend.shares()[static_cast<size_t>(near.source)];
    EXPECT_EQ(blend.place(far + i), (Blend::Place{near.source, near.number + far / 9 * share}));
  }
  EXPECT_THROW(blend.place(-1), UsageError);
}

TEST(Blend, RefusesWeightsThatMeanNothing) {
  EXPECT_THROW(blend_of({}), UsageError);
  EXPECT_THROW(blend_of({1, 0}), UsageError);
  EXPECT_THROW(blend_of({1, -1}), UsageError);
  EXPECT_THROW(blend_of({1, std::nan("")}), UsageError);
  EXPECT_THROW(blend_of({1, 1e-7}), UsageError);
  EXPECT_THROW(Blend(std::vector<double>(257, 1.0)), UsageError);
}

class BlendedSamplerTest : public testing::Test {
 protected:
  Sampler sampler(const IndexedDataset& dataset, int64_t length = 8) const {
    return Sampler(dataset, {.sequence_length = length, .seed = 4});
  }
  const TemporaryFolder folder_;
  // Ids 0..99 and 100..299: a token tells its source.
  const IndexedDataset small_ = make_dataset(folder_.file("a"), counting_documents({60, 40}), 1000);
  const IndexedDataset large_ = make_dataset(folder_.file("b"), shifted(), 1000);

 private:
  static Documents shifted() {
    Documents documents = counting_documents({100, 100});
    for (auto& document : documents) {
      for (int64_t& id : document) {
        id += 100;
      }
    }
    return documents;
  }
};

TEST_F(BlendedSamplerTest, TakesEachSourceInItsOwnOrderThroughItsOwnEpochs) {
  const BlendedSampler blended({sampler(small_), sampler(large_)}, blend_of({1, 2}));
  const BlendedSampler small({sampler(small_)}, blend_of({1}));
  const BlendedSampler large({sampler(large_)}, blend_of({7}));
  int64_t from_small = 0;
  int64_t from_large = 0;
  for (int64_t i = 0; i < 150; ++i) {  // 50 of 11 windows each, 100 of 24
    const MicroBatch batch = blended.micro_batch(i, 1);
    const bool is_small = batch.tokens[0] < 100;
    const MicroBatch own =
        is_small ? small.micro_batch(from_small++, 1) : large.micro_batch(from_large++, 1);
    ASSERT_EQ(batch.tokens, own.tokens) << i;
    ASSERT_EQ(batch.labels, own.labels) << i;
  }
  EXPECT_EQ(from_small, 50);
  EXPECT_EQ(from_large, 100);
}

TEST_F(BlendedSamplerTest, GivesTheSameSamplesInAnyBatchingAndFromAnyStart) {
  const BlendedSampler blended({sampler(small_), sampler(large_)}, blend_of({0.3, 0.7}));
  std::vector<int64_t> forward;
  for (int64_t i = 0; i < 60; i += 4) {
    const auto tokens = blended.micro_batch(i, 4).tokens;
    forward.insert(forward.end(), tokens.begin(), tokens.end());
  }
  const BlendedSampler resumed({sampler(small_), sampler(large_)}, blend_of({0.3, 0.7}));
  for (int64_t i = 59; i >= 0; --i) {
    const auto tokens = resumed.micro_batch(i, 1).tokens;
    EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), forward.begin() + i * 8)) << i;
  }
}

TEST_F(BlendedSamplerTest, NeedsASamplerOfOneLengthForEachSource) {
  EXPECT_THROW(BlendedSampler({sampler(small_)}, blend_of({1, 1})), UsageError);
  EXPECT_THROW(BlendedSampler({sampler(small_), sampler(large_, 9)}, blend_of({1, 1})), UsageError);
}

}  // namespace
}  // namespace enodia
