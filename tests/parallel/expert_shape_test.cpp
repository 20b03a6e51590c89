#include "parallel/expert_shape.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

namespace enodia {
namespace {

TEST(ExpertShape, AlignsChunksTo256Bytes) {
  EXPECT_EQ((ExpertShape{3, 2}.chunk_elements()), 64);
  EXPECT_EQ((ExpertShape{8, 8}.chunk_elements()), 192);
  EXPECT_EQ((ExpertShape{8, 9}.chunk_elements()), 256);
}

TEST(ExpertShape, StripesAreEvenRunsOfWholeRows) {
  std::mt19937 random(4);
  for (int i = 0; i < 500; ++i) {
    const auto draw = [&](int most) { return 1 + static_cast<int64_t>(random() % most); };
    const ExpertShape shape{draw(40), draw(40), static_cast<int>(draw(12))};
    const int64_t all = 3 * shape.hidden_size * shape.intermediate_size;
    const double even = static_cast<double>(all) / shape.stripes;
    int64_t end = 0;
    for (int index = 0; index < shape.stripes; ++index) {
      const Slice stripe = shape.stripe(index);
      EXPECT_EQ(stripe.first, end);
      end = stripe.end();
      const int64_t in_down = end - shape.gate_up_elements();
      EXPECT_EQ(in_down < 0 ? end % shape.hidden_size : in_down % shape.intermediate_size, 0);
      const int64_t row = std::max(shape.hidden_size, shape.intermediate_size);
      EXPECT_NEAR(static_cast<double>(stripe.count), even, static_cast<double>(row));
      EXPECT_LE(stripe.count, shape.stripe_elements());
    }
    EXPECT_EQ(end, all);
    EXPECT_LE(shape.stripe_elements(), shape.chunk_elements());
  }
}

}  // namespace
}  // namespace enodia
