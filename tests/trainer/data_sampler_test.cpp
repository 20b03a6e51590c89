#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "tests/trainer/data_fixtures.h"
#include "trainer/data/sampler.h"

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kNone = MicroBatch::kNoLabel;

MicroBatch make_micro_batch(const Sampler& sampler, int64_t first_sample, int64_t count) {
  MicroBatchBuilder builder;
  for (int64_t sample = first_sample; sample < first_sample + count; ++sample) {
    add_sample(sampler, sample, builder);
  }
  return builder.finish();
}

class SamplerTest : public testing::Test {
 protected:
  IndexedDataset counting(const std::vector<int64_t>& lengths) {
    return make_dataset(folder_.file("x"), counting_documents(lengths), 100000);
  }
  const TemporaryFolder folder_;
};

TEST_F(SamplerTest, UsesEachTokenAtMostOnceAnEpochAndNearlyAllOfThem) {
  constexpr int64_t kLength = 7;
  const auto dataset = counting({100, 33, 250, 5});
  const Sampler sampler(dataset, {.sequence_length = kLength, .seed = 3});
  const int64_t n = sampler.windows_per_epoch();
  std::set<int64_t> offsets;
  for (int64_t epoch = 0; epoch < 40; ++epoch) {
    std::set<int64_t> used;
    for (int64_t i = 0; i < n; ++i) {
      const MicroBatch batch = make_micro_batch(sampler, epoch * n + i, 1);
      used.insert(batch.tokens.begin(), batch.tokens.end());
    }
    ASSERT_EQ(used.size(), static_cast<size_t>(n * kLength));
    ASSERT_GT(static_cast<int64_t>(used.size()), dataset.num_tokens() - 2 * kLength);
    ASSERT_EQ(*used.rbegin() - *used.begin() + 1, n * kLength);
    offsets.insert(*used.begin());
  }
  EXPECT_EQ(offsets.size(), static_cast<size_t>(kLength));  // every offset occurs
}

TEST_F(SamplerTest, ShufflesDifferentlyInEachEpochAndForEachSeed) {
  const auto dataset = counting({1000});
  const auto order = [&](uint64_t seed, int64_t epoch) {
    const Sampler sampler(dataset, {.sequence_length = 8, .seed = seed});
    std::vector<int64_t> windows;
    for (int64_t i = 0; i < sampler.windows_per_epoch(); ++i) {
      windows.push_back(sampler.window_start(epoch * sampler.windows_per_epoch() + i) / 8);
    }
    return windows;
  };
  const auto first = order(1, 0);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
  EXPECT_EQ(first, order(1, 0));
  EXPECT_NE(first, order(1, 1));
  EXPECT_NE(first, order(2, 0));
}

TEST_F(SamplerTest, GivesTheSameSampleInAnyOrderOfCallsAndAnyBatching) {
  const auto dataset = counting({40, 3, 90, 60});
  const Sampler sampler(dataset, {.sequence_length = 8, .seed = 5});
  std::vector<int64_t> forward;
  for (int64_t i = 0; i < 60; i += 4) {
    const auto tokens = make_micro_batch(sampler, i, 4).tokens;
    forward.insert(forward.end(), tokens.begin(), tokens.end());
  }
  const Sampler resumed(dataset, {.sequence_length = 8, .seed = 5});
  for (int64_t i = 59; i >= 0; --i) {
    const auto tokens = make_micro_batch(resumed, i, 1).tokens;
    EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), forward.begin() + i * 8)) << i;
  }
}

TEST_F(SamplerTest, ReadsInOrderFromTheFirstTokenWhenSequential) {
  const auto dataset = counting({21});
  const Sampler sampler(dataset, {.order = SampleOrder::kSequential, .sequence_length = 5});
  EXPECT_EQ(sampler.windows_per_epoch(), 4);
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < 6; ++i) {
    starts.push_back(sampler.window_start(i));
  }
  EXPECT_THAT(starts, ElementsAre(0, 5, 10, 15, 0, 5));
}

TEST_F(SamplerTest, TakesSampleNumbersOfAnySize) {
  const auto dataset = counting({100});
  const Sampler sampler(dataset, {.sequence_length = 9, .seed = 1});
  for (const int64_t sample : {int64_t{1} << 40, (int64_t{1} << 62) + 1}) {
    const int64_t start = sampler.window_start(sample);
    EXPECT_GE(start, 0);
    EXPECT_LE(start + 10, 100);
  }
  EXPECT_THROW(sampler.window_start(-1), UsageError);
}

TEST_F(SamplerTest, NeedsOneTokenMoreThanASequence) {
  const auto dataset = counting({6, 4});
  for (const SampleOrder order : {SampleOrder::kShuffled, SampleOrder::kSequential}) {
    const Sampler exact(dataset, {.order = order, .sequence_length = 9});
    EXPECT_EQ(exact.windows_per_epoch(), 1);
    EXPECT_EQ(exact.window_start(3), 0);
    try {
      const Sampler sampler(dataset, {.order = order, .sequence_length = 10});
      FAIL() << "accepted";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("has 10 tokens"));
      EXPECT_THAT(error.what(), HasSubstr("11"));
    }
  }
}

TEST_F(SamplerTest, CutsSegmentsAndLabelsAtTheEndOfDocuments) {
  // documents: 0 1 2 | 3 | 4 5 6 7 8 9 10, with an empty one before the last; windows of 4 + 1
  const auto dataset = counting({3, 1, 0, 7});
  const Sampler sampler(dataset, {.order = SampleOrder::kSequential, .sequence_length = 4});
  const MicroBatch batch = make_micro_batch(sampler, 0, 2);
  EXPECT_THAT(batch.tokens, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(batch.labels, ElementsAre(1, 2, kNone, kNone, 5, 6, 7, 8));
  EXPECT_THAT(batch.layout.cu_seqlens, ElementsAre(0, 3, 4, 8));
  EXPECT_THAT(batch.layout.positions, ElementsAre(0, 1, 2, 0, 0, 1, 2, 3));
  EXPECT_EQ(batch.num_valid, 6);
}

TEST_F(SamplerTest, KeepsSequencesApartThoughTheyNeighborInTheStream) {
  const auto dataset = counting({9});
  const Sampler sampler(dataset, {.order = SampleOrder::kSequential, .sequence_length = 4});
  const MicroBatch batch = make_micro_batch(sampler, 0, 2);
  EXPECT_THAT(batch.labels, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_THAT(batch.layout.cu_seqlens, ElementsAre(0, 4, 8));
}

TEST_F(SamplerTest, CountsTheLabelsOfABatchWithoutReadingIt) {
  const auto dataset = counting({3, 1, 0, 7, 0, 0, 20, 1, 1, 1, 14, 2});
  for (const SampleOrder order : {SampleOrder::kShuffled, SampleOrder::kSequential}) {
    const Sampler sampler(dataset, {.order = order, .sequence_length = 6, .seed = 9});
    for (int64_t i = 0; i < 50; ++i) {
      const MicroBatch batch = make_micro_batch(sampler, i, 3);
      EXPECT_EQ(count_valid(sampler, i, 3), batch.num_valid);
      EXPECT_EQ(
          std::count_if(
              batch.labels.begin(), batch.labels.end(), [](int64_t label) { return label >= 0; }),
          batch.num_valid);
    }
  }
}

TEST_F(SamplerTest, MakesAnEmptyMicroBatchOfNoSamples) {
  const auto dataset = counting({9});
  const Sampler sampler(dataset, {.sequence_length = 4});
  const MicroBatch batch = make_micro_batch(sampler, 0, 0);
  EXPECT_EQ(batch.layout.num_tokens(), 0);
  EXPECT_EQ(batch.num_valid, 0);
}

}  // namespace
}  // namespace enodia
