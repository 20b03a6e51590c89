#include "common/random.h"

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;

TEST(Philox, KnownAnswersOfRandom123) {  // kat_vectors, philox4x32 10
  EXPECT_THAT(philox({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  const uint32_t ones = 0xffffffff;
  EXPECT_THAT(philox({ones, ones, ones, ones}, {ones, ones}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(Philox, AStreamKeyGivesLowWordsFirst) {
  const RandomKey key(5);
  const auto low = static_cast<uint32_t>(key.value());
  const auto high = static_cast<uint32_t>(key.value() >> 32);
  EXPECT_EQ(philox(key, 0x0000000700000003), philox({3, 7, 0, 0}, {low, high}));
}

TEST(RandomKey, EveryIngredientMatters) {
  std::set<uint64_t> values;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    values.insert(RandomKey(seed).value());
    for (uint64_t step = 0; step < 30; ++step) {
      values.insert(RandomKey(seed).with(step).value());
    }
    values.insert(RandomKey(seed).with("weights").value());
    values.insert(RandomKey(seed).with("weight").value());
    values.insert(RandomKey(seed).with(1).with(2).value());  // order matters, too
    values.insert(RandomKey(seed).with(2).with(1).value());
  }
  EXPECT_EQ(values.size(), 30u * (1 + 30 + 4));
}

TEST(Random, UniformHasTheRightMoments) {
  const RandomKey key = RandomKey(1).with("uniform");
  constexpr int kCount = 100'000;
  double sum = 0;
  double squares = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const double value = random_uniform(key, i);
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kCount, 1.0 / 2, 0.004);  // more than four standard errors
  EXPECT_NEAR(squares / kCount, 1.0 / 3, 0.004);
}

TEST(Random, NormalHasTheRightMoments) {
  const RandomKey key = RandomKey(1).with("normal");
  constexpr int kCount = 100'000;
  double sums[4] = {};
  for (uint64_t i = 0; i < kCount; ++i) {
    const double value = random_normal(key, i);
    ASSERT_TRUE(std::isfinite(value));
    for (int power = 0; power < 4; ++power) {
      sums[power] += std::pow(value, power + 1);
    }
  }
  EXPECT_NEAR(sums[0] / kCount, 0, 0.015);
  EXPECT_NEAR(sums[1] / kCount, 1, 0.02);
  EXPECT_NEAR(sums[2] / kCount, 0, 0.06);
  EXPECT_NEAR(sums[3] / kCount, 3, 0.15);
}

TEST(RandomPermutation, IsABijectionForEverySize) {
  const RandomKey key = RandomKey(3).with("permutation");
  for (uint64_t size = 1; size <= 1000; ++size) {
    std::vector<bool> seen(size, false);
    for (uint64_t i = 0; i < size; ++i) {
      const uint64_t value = random_permutation(key, size, i);
      ASSERT_LT(value, size);
      ASSERT_FALSE(seen[value]) << "size " << size << " index " << i;
      seen[value] = true;
    }
  }
}

TEST(RandomPermutation, KeysGiveDifferentOrders) {
  constexpr uint64_t kSize = 1000;
  int fixed = 0;
  int equal = 0;
  for (uint64_t i = 0; i < kSize; ++i) {
    const uint64_t first = random_permutation(RandomKey(1), kSize, i);
    fixed += first == i ? 1 : 0;
    equal += first == random_permutation(RandomKey(2), kSize, i) ? 1 : 0;
  }
  EXPECT_LT(fixed, 10);  // one is expected of a random order
  EXPECT_LT(equal, 10);
}

TEST(RandomPermutation, WorksOnHugeSizesAndRefusesOutside) {
  const uint64_t size = (uint64_t{1} << 62) + 12345;
  EXPECT_LT(random_permutation(RandomKey(1), size, size - 1), size);
  EXPECT_THROW(random_permutation(RandomKey(1), 10, 10), UsageError);
  EXPECT_THROW(random_permutation(RandomKey(1), 0, 0), UsageError);
}

}  // namespace
}  // namespace enodia
