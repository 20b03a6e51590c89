#include "checkpoint/native/box.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "common/random.h"

namespace enodia {
namespace {

/// A small random number in [0, bound): number `counter` of a fixed stream.
int64_t draw(uint64_t& counter, int64_t bound) {
  return static_cast<int64_t>(random_uniform(RandomKey(7), counter++) * static_cast<double>(bound));
}

/// Cuts a box at random, again and again: the parts tile it.
std::vector<Box> random_tiling(std::vector<int64_t> shape, int cuts, uint64_t& counter) {
  std::vector<Box> boxes{{std::vector<int64_t>(shape.size(), 0), shape}};
  for (int i = 0; i < cuts; ++i) {
    const auto victim = static_cast<size_t>(draw(counter, static_cast<int64_t>(boxes.size())));
    const auto dim = static_cast<size_t>(draw(counter, static_cast<int64_t>(shape.size())));
    Box& low = boxes[victim];
    if (low.size[dim] < 2) {
      continue;
    }
    Box high = low;
    const int64_t at = 1 + draw(counter, low.size[dim] - 1);
    low.size[dim] = at;
    high.offset[dim] += at;
    high.size[dim] -= at;
    boxes.push_back(high);
  }
  return boxes;
}

/// The slow way: counts how often each element is held.
bool tiles_by_counting(const std::vector<int64_t>& shape, const std::vector<Box>& boxes) {
  int64_t elements = 1;
  for (const int64_t size : shape) {
    elements *= size;
  }
  for (int64_t element = 0; element < elements; ++element) {
    int times = 0;
    for (const Box& box : boxes) {
      int64_t rest = element;
      bool inside = true;
      for (size_t dim = shape.size(); dim-- > 0;) {
        const int64_t at = rest % shape[dim];
        rest /= shape[dim];
        inside = inside && at >= box.offset[dim] && at < box.offset[dim] + box.size[dim];
      }
      times += inside ? 1 : 0;
    }
    if (times != 1) {
      return false;
    }
  }
  return true;
}

TEST(Box, CountsElementsWithoutOverflow) {
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  const auto count = [](std::vector<int64_t> sizes) { return element_count(sizes, 4); };
  EXPECT_EQ(count({}), 1);
  EXPECT_EQ(count({3, 5}), 15);
  EXPECT_EQ(count({kHuge, kHuge, 0}), 0);
  EXPECT_EQ(count({int64_t{1} << 58}), int64_t{1} << 58);
  EXPECT_EQ(count({(int64_t{1} << 58) + 1}), std::nullopt);
  EXPECT_EQ(count({int64_t{1} << 32, int64_t{1} << 32}), std::nullopt);
  EXPECT_EQ(count({-1, 0}), std::nullopt);
}

TEST(Box, LiesInsideWithoutOverflow) {
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  const std::vector<int64_t> shape{4, 6};
  EXPECT_TRUE(lies_inside({{0, 0}, {4, 6}}, shape));
  EXPECT_TRUE(lies_inside({{4, 6}, {0, 0}}, shape));
  EXPECT_FALSE(lies_inside({{1, 0}, {4, 6}}, shape));
  EXPECT_FALSE(lies_inside({{1, 0}, {kHuge, 6}}, shape));
  EXPECT_FALSE(lies_inside({{kHuge, 0}, {kHuge, 6}}, shape));
  EXPECT_FALSE(lies_inside({{-1, 0}, {2, 6}}, shape));
  EXPECT_FALSE(lies_inside({{0, 0}, {-1, 6}}, shape));
  EXPECT_FALSE(lies_inside({{0}, {4}}, shape));
}

TEST(Box, CopiesAnyPartBetweenAnyBoxes) {
  uint64_t counter = 0;
  const std::vector<int64_t> shape{4, 3, 5};
  std::vector<int32_t> whole(60);
  std::iota(whole.begin(), whole.end(), 0);
  const Box all{{0, 0, 0}, shape};
  for (int round = 0; round < 50; ++round) {
    // Through one tiling into another and back to the whole: nothing moves.
    std::map<size_t, std::vector<int32_t>> memory;
    const auto first = random_tiling(shape, 6, counter);
    const auto second = random_tiling(shape, 6, counter);
    std::vector<int32_t> result(60, -1);
    for (const Box& to : second) {
      std::vector<int32_t> target(static_cast<size_t>(*element_count(to.size, 4)), -1);
      for (const Box& from : first) {
        std::vector<int32_t> source(static_cast<size_t>(*element_count(from.size, 4)));
        copy_box(from,
                 all,
                 reinterpret_cast<const std::byte*>(whole.data()),
                 from,
                 reinterpret_cast<std::byte*>(source.data()),
                 4);
        if (const auto common = intersect(from, to)) {
          copy_box(*common,
                   from,
                   reinterpret_cast<const std::byte*>(source.data()),
                   to,
                   reinterpret_cast<std::byte*>(target.data()),
                   4);
        }
      }
      copy_box(to,
               to,
               reinterpret_cast<const std::byte*>(target.data()),
               all,
               reinterpret_cast<std::byte*>(result.data()),
               4);
    }
    ASSERT_EQ(result, whole);
  }
}

TEST(Box, SlabsFollowEachOtherInMemory) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{4, 3, 5}, {60}, {1, 60}, {60, 1}, {2, 2, 2, 2}, {}, {7, 1, 1}}) {
    const int64_t elements = *element_count(shape, 1);
    for (int64_t limit = 1; limit <= elements + 1; ++limit) {
      int64_t position = 0;
      for (const Box& slab : row_major_slabs(shape, limit)) {
        const int64_t count = *element_count(slab.size, 1);
        ASSERT_LE(count, limit);
        ASSERT_GT(count, 0);
        int64_t first = 0;
        for (size_t dim = 0; dim < shape.size(); ++dim) {
          first = first * shape[dim] + slab.offset[dim];
        }
        ASSERT_EQ(first, position);
        position += count;
      }
      ASSERT_EQ(position, elements);
    }
  }
  EXPECT_TRUE(row_major_slabs(std::vector<int64_t>{int64_t{1} << 60, 0}, 8).empty());
}

TEST(Cover, AcceptsEveryTilingAndNamesTheFirstWrongElement) {
  const std::vector<int64_t> shape{4, 6};
  EXPECT_EQ(cover_fault(shape, std::vector<Box>{{{0, 0}, {4, 6}}}), std::nullopt);
  EXPECT_EQ(cover_fault(shape, std::vector<Box>{{{0, 0}, {4, 6}}, {{2, 3}, {1, 1}}}),
            "element [2, 3] lies in more than one box");
  EXPECT_EQ(cover_fault(shape, std::vector<Box>{{{0, 0}, {4, 5}}}),
            "element [0, 5] lies in no box");
  EXPECT_EQ(cover_fault(shape, std::vector<Box>{}), "element [0, 0] lies in no box");
  // As many elements as the tensor has, but one row twice and one not at all.
  EXPECT_EQ(cover_fault(shape, std::vector<Box>{{{0, 0}, {2, 6}}, {{1, 0}, {2, 6}}}),
            "element [1, 0] lies in more than one box");
  EXPECT_EQ(cover_fault(std::vector<int64_t>{}, std::vector<Box>{{{}, {}}, {{}, {}}}),
            "element [] lies in more than one box");
  EXPECT_EQ(cover_fault(std::vector<int64_t>{0, 3}, std::vector<Box>{}), std::nullopt);
}

TEST(Cover, AgreesWithCountingOnRandomBoxes) {
  uint64_t counter = 1000;
  int tilings = 0;
  for (int round = 0; round < 400; ++round) {
    const std::vector<int64_t> shape{
        1 + draw(counter, 5), 1 + draw(counter, 5), 1 + draw(counter, 4)};
    std::vector<Box> boxes = random_tiling(shape, static_cast<int>(draw(counter, 9)), counter);
    if (draw(counter, 2) == 1) {  // spoil one: move or shrink it
      Box& box = boxes[static_cast<size_t>(draw(counter, static_cast<int64_t>(boxes.size())))];
      const auto dim = static_cast<size_t>(draw(counter, 3));
      if (box.offset[dim] > 0) {
        --box.offset[dim];
      } else if (box.size[dim] > 1) {
        --box.size[dim];
      }
    }
    const bool expected = tiles_by_counting(shape, boxes);
    ASSERT_EQ(!cover_fault(shape, boxes).has_value(), expected) << "round " << round;
    tilings += expected ? 1 : 0;
  }
  EXPECT_GT(tilings, 100);
  EXPECT_LT(tilings, 350);
}

TEST(Cover, ProvesAHundredThousandBoxes) {
  const std::vector<int64_t> shape{4000, 1000, 8};
  std::vector<Box> boxes;
  for (int64_t row = 0; row < 4000; row += 10) {
    for (int64_t column = 0; column < 1000; column += 4) {
      boxes.push_back({{row, column, 0}, {10, 4, 8}});
    }
  }
  ASSERT_EQ(boxes.size(), 100000U);
  EXPECT_EQ(cover_fault(shape, boxes), std::nullopt);
  boxes[54321].size[1] = 3;
  EXPECT_EQ(cover_fault(shape, boxes), "element [2170, 287, 0] lies in no box");
  boxes[54321].size = {10, 4, 8};
  boxes[54321].offset = boxes[12345].offset;
  EXPECT_NE(cover_fault(shape, boxes), std::nullopt);
}

TEST(Cover, RefusesMoreCornersThanMemoryShouldHold) {
  const std::vector<int64_t> shape(8, 4);
  const std::vector<Box> boxes(20000, Box{std::vector<int64_t>(8, 0), std::vector<int64_t>(8, 1)});
  EXPECT_NE(cover_fault(shape, boxes).value_or("").find("more than a checkpoint may hold"),
            std::string::npos);
}

}  // namespace
}  // namespace enodia
