#include "models/sequence_layout.h"

#include <array>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SequenceLayout, CountsPositionsFromZeroInEachSegment) {
  const std::array<int64_t, 3> lengths{3, 1, 2};
  const auto layout = SequenceLayout::from_lengths(lengths);
  EXPECT_THAT(layout.cu_seqlens, ElementsAre(0, 3, 4, 6));
  EXPECT_THAT(layout.positions, ElementsAre(0, 1, 2, 0, 0, 1));
  EXPECT_THAT(layout.documents, ElementsAre(0, 0, 0, 1, 2, 2));
  EXPECT_EQ(layout.num_tokens(), 6);
  EXPECT_EQ(layout.num_segments(), 3);
  EXPECT_EQ(layout.max_segment_length(), 3);
}

TEST(SequenceLayout, MayHaveNoTokens) {
  const auto layout = SequenceLayout::from_lengths({});
  EXPECT_THAT(layout.cu_seqlens, ElementsAre(0));
  EXPECT_THAT(layout.positions, IsEmpty());
  EXPECT_EQ(layout.num_tokens(), 0);
  EXPECT_EQ(layout.num_segments(), 0);
  EXPECT_EQ(layout.max_segment_length(), 0);
  EXPECT_EQ(SequenceLayout{}.num_tokens(), 0);
}

TEST(SequenceLayout, RefusesLengthsThatAreNotPositiveOrTooMany) {
  const std::array<int64_t, 2> with_zero{3, 0};
  EXPECT_THROW(SequenceLayout::from_lengths(with_zero), UsageError);
  const std::array<int64_t, 1> negative{-1};
  EXPECT_THROW(SequenceLayout::from_lengths(negative), UsageError);
  const std::array<int64_t, 2> too_many{std::numeric_limits<int32_t>::max(), 1};
  EXPECT_THROW(SequenceLayout::from_lengths(too_many), UsageError);
}

}  // namespace
}  // namespace enodia
