#include "collectives/reduce.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace enodia {
namespace {

using ::testing::ElementsAre;

template <typename T>
T reduce(std::vector<T> values, DType dtype, ReduceOp op) {
  std::vector<const std::byte*> contributions;
  for (const T& value : values) {
    contributions.push_back(reinterpret_cast<const std::byte*>(&value));
  }
  T result{};
  reduce_in_order(contributions, reinterpret_cast<std::byte*>(&result), 1, dtype, op);
  return result;
}

TEST(Reduce, GoesFromLeftToRight) {
  // 2^24 + 1 is not a float32: one after the other both ones are lost, from the right they count.
  EXPECT_EQ(reduce<float>({0x1p24F, 1, 1}, DType::kFloat32, ReduceOp::kSum), 0x1p24F);
  EXPECT_EQ(reduce<float>({1, 1, 0x1p24F}, DType::kFloat32, ReduceOp::kSum), 0x1p24F + 2);
}

TEST(Reduce, NeverNarrowsFloat64) {
  EXPECT_EQ(reduce<double>({0x1p24, 1, 1}, DType::kFloat64, ReduceOp::kSum), 0x1p24 + 2);
}

TEST(Reduce, RoundsBFloat16OnceAtTheEnd) {
  // 256 + 1 is not a bfloat16; in float32 the ones add up to the next one, 258.
  const uint16_t big = bfloat16_from_float(256);
  const uint16_t one = bfloat16_from_float(1);
  EXPECT_EQ(reduce<uint16_t>({big, one, one}, DType::kBFloat16, ReduceOp::kSum),
            bfloat16_from_float(258));
}

TEST(Reduce, SumsStartWithTheFirstElementNotWithZero) {
  const float sum = reduce<float>({-0.0F, -0.0F}, DType::kFloat32, ReduceOp::kSum);
  EXPECT_TRUE(std::signbit(sum));
}

TEST(Reduce, BytesWrapAroundAndIntegersAreExact) {
  EXPECT_EQ(reduce<uint8_t>({200, 100}, DType::kUInt8, ReduceOp::kSum), 44);
  const int64_t large = (int64_t{1} << 53) + 1;  // not a double
  EXPECT_EQ(reduce<int64_t>({large, 1}, DType::kInt64, ReduceOp::kSum), large + 1);
  EXPECT_EQ(reduce<int32_t>({-5, 3, 4}, DType::kInt32, ReduceOp::kMin), -5);
  EXPECT_EQ(reduce<int32_t>({-5, 3, 4}, DType::kInt32, ReduceOp::kMax), 4);
}

TEST(Reduce, MinimumAndMaximumKeepNaNWhereverItStands) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const ReduceOp op : {ReduceOp::kMin, ReduceOp::kMax}) {
    EXPECT_TRUE(std::isnan(reduce<float>({nan, 1, 2}, DType::kFloat32, op)));
    EXPECT_TRUE(std::isnan(reduce<float>({1, nan, 2}, DType::kFloat32, op)));
    EXPECT_TRUE(std::isnan(reduce<float>({1, 2, nan}, DType::kFloat32, op)));
  }
}

TEST(Reduce, MayWriteIntoAContribution) {
  std::vector<float> first(3000, 1);
  std::vector<float> second(3000, 2);
  const std::vector<const std::byte*> contributions{
      reinterpret_cast<const std::byte*>(first.data()),
      reinterpret_cast<const std::byte*>(second.data())};
  reduce_in_order(contributions,
                  reinterpret_cast<std::byte*>(second.data()),
                  3000,
                  DType::kFloat32,
                  ReduceOp::kSum);
  EXPECT_THAT(second, ::testing::Each(3));
  EXPECT_THAT(first, ::testing::Each(1));
}

}  // namespace
}  // namespace enodia
