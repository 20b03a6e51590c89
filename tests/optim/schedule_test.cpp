#include "optim/schedule.h"

#include <cmath>

#include <gtest/gtest.h>

namespace enodia {
namespace {

constexpr ScheduleOptions kCosine{.kind = ScheduleKind::kCosine,
                                  .lr = 2e-3,
                                  .min_lr = 2e-4,
                                  .warmup_samples = 100,
                                  .decay_samples = 500};

TEST(Schedule, WarmsUpLinearlyFromZero) {
  EXPECT_EQ(learning_rate(kCosine, 0), 0.0);
  EXPECT_DOUBLE_EQ(learning_rate(kCosine, 1), 2e-5);
  EXPECT_DOUBLE_EQ(learning_rate(kCosine, 50), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(kCosine, 100), 2e-3);
}

TEST(Schedule, FollowsACosineDownToTheMinimum) {
  EXPECT_DOUBLE_EQ(learning_rate(kCosine, 200),
                   2e-4 + 1.8e-3 * (0.5 + std::sqrt(2.0) / 4));  // cos(pi/4)
  EXPECT_DOUBLE_EQ(learning_rate(kCosine, 300), 1.1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(kCosine, 500), 2e-4);
  EXPECT_DOUBLE_EQ(learning_rate(kCosine, 1'000'000), 2e-4) << "constant after the decay";
}

TEST(Schedule, MayDoWithoutWarmUp) {
  ScheduleOptions options = kCosine;
  options.warmup_samples = 0;
  EXPECT_DOUBLE_EQ(learning_rate(options, 0), 2e-3);
  EXPECT_DOUBLE_EQ(learning_rate(options, 250), 1.1e-3);
}

TEST(Schedule, MayWarmUpUntilTheDecayEnds) {
  ScheduleOptions options = kCosine;
  options.warmup_samples = 500;
  EXPECT_DOUBLE_EQ(learning_rate(options, 250), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(options, 500), 2e-3);
  EXPECT_DOUBLE_EQ(learning_rate(options, 501), 2e-4);
}

TEST(Schedule, MayStayConstant) {
  const ScheduleOptions options{.kind = ScheduleKind::kConstant, .lr = 3e-4, .warmup_samples = 4};
  EXPECT_DOUBLE_EQ(learning_rate(options, 1), 0.75e-4);
  EXPECT_DOUBLE_EQ(learning_rate(options, 4), 3e-4);
  EXPECT_DOUBLE_EQ(learning_rate(options, 1'000'000), 3e-4);
}

}  // namespace
}  // namespace enodia
