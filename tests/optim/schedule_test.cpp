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
constexpr int64_t kRun = 1000;

double rate(const ScheduleOptions& options, int64_t consumed_samples, int64_t run = kRun) {
  return learning_rate(place_schedule(options, run), consumed_samples);
}

ScheduleOptions of_kind(ScheduleKind kind) {
  ScheduleOptions options = kCosine;
  options.kind = kind;
  return options;
}

TEST(Schedule, WarmsUpLinearlyFromZero) {
  for (const ScheduleKind kind :
       {ScheduleKind::kCosine, ScheduleKind::kLinear, ScheduleKind::kWsd}) {
    EXPECT_EQ(rate(of_kind(kind), 0), 0.0);
    EXPECT_DOUBLE_EQ(rate(of_kind(kind), 1), 2e-5);
    EXPECT_DOUBLE_EQ(rate(of_kind(kind), 50), 1e-3);
    EXPECT_DOUBLE_EQ(rate(of_kind(kind), 100), 2e-3);
  }
}

TEST(Schedule, FollowsACosineDownToTheMinimum) {
  EXPECT_DOUBLE_EQ(rate(kCosine, 200), 2e-4 + 1.8e-3 * (0.5 + std::sqrt(2.0) / 4));  // cos(pi/4)
  EXPECT_DOUBLE_EQ(rate(kCosine, 300), 1.1e-3);
  EXPECT_EQ(rate(kCosine, 500), 2e-4);
  EXPECT_EQ(rate(kCosine, 1'000'000), 2e-4) << "constant after the decay";
}

TEST(Schedule, FollowsALineDownToTheMinimum) {
  const ScheduleOptions linear = of_kind(ScheduleKind::kLinear);
  for (int64_t n = 100; n <= 500; ++n) {  // 4.5e-6 a sample
    ASSERT_NEAR(rate(linear, n), 2e-3 - 4.5e-6 * static_cast<double>(n - 100), 1e-16) << n;
  }
  EXPECT_EQ(rate(linear, 500), 2e-4);
  EXPECT_EQ(rate(linear, 501), 2e-4);
}

TEST(Schedule, StaysStableAndDecaysAtTheEndOfTheRun) {
  ScheduleOptions wsd = of_kind(ScheduleKind::kWsd);
  wsd.decay_samples = 250;
  for (int64_t n = 100; n <= 750; ++n) {
    ASSERT_DOUBLE_EQ(rate(wsd, n), 2e-3) << n;
  }
  for (int64_t n = 750; n <= 1000; ++n) {  // 7.2e-6 a sample
    ASSERT_NEAR(rate(wsd, n), 2e-4 + 7.2e-6 * static_cast<double>(1000 - n), 1e-16) << n;
  }
  EXPECT_EQ(rate(wsd, 1000), 2e-4);
  EXPECT_EQ(rate(wsd, 1001), 2e-4);
  EXPECT_DOUBLE_EQ(rate(wsd, 1000, 2000), 2e-3) << "a longer run decays later";
}

TEST(Schedule, TakesTheWholeRunOrATenthForAuto) {
  ScheduleOptions linear = of_kind(ScheduleKind::kLinear);
  linear.decay_samples = 0;
  EXPECT_DOUBLE_EQ(rate(linear, 550), 1.1e-3);
  EXPECT_EQ(rate(linear, 1000), 2e-4);
  ScheduleOptions wsd = of_kind(ScheduleKind::kWsd);
  wsd.decay_samples = 0;
  EXPECT_DOUBLE_EQ(rate(wsd, 900), 2e-3);
  EXPECT_LT(rate(wsd, 901), 2e-3);
  EXPECT_DOUBLE_EQ(rate(wsd, 950), 1.1e-3);
  EXPECT_EQ(rate(wsd, 1000), 2e-4);
  wsd.warmup_samples = 0;
  EXPECT_DOUBLE_EQ(rate(wsd, 4, 5), 2e-3) << "the shortest decay is one sample";
  EXPECT_EQ(rate(wsd, 5, 5), 2e-4);
}

TEST(Schedule, HasNoJumps) {
  // No sample changes the rate by more than its steepest slope: the warm-up's, or the decay's.
  for (const ScheduleKind kind :
       {ScheduleKind::kCosine, ScheduleKind::kLinear, ScheduleKind::kWsd}) {
    for (int64_t n = 1; n <= kRun + 10; ++n) {
      ASSERT_LE(std::abs(rate(of_kind(kind), n) - rate(of_kind(kind), n - 1)), 2.01e-5) << n;
    }
  }
}

TEST(Schedule, MayDoWithoutWarmUp) {
  ScheduleOptions options = kCosine;
  options.warmup_samples = 0;
  EXPECT_DOUBLE_EQ(rate(options, 0), 2e-3);
  EXPECT_DOUBLE_EQ(rate(options, 250), 1.1e-3);
}

TEST(Schedule, MayWarmUpUntilTheDecayEnds) {
  ScheduleOptions options = kCosine;
  options.warmup_samples = 500;
  EXPECT_DOUBLE_EQ(rate(options, 250), 1e-3);
  EXPECT_DOUBLE_EQ(rate(options, 500), 2e-3);
  EXPECT_DOUBLE_EQ(rate(options, 501), 2e-4);
}

TEST(Schedule, MayStayConstant) {
  const ScheduleOptions options{.kind = ScheduleKind::kConstant, .lr = 3e-4, .warmup_samples = 4};
  EXPECT_DOUBLE_EQ(rate(options, 1), 0.75e-4);
  EXPECT_DOUBLE_EQ(rate(options, 4), 3e-4);
  EXPECT_DOUBLE_EQ(rate(options, 1'000'000), 3e-4);
}

}  // namespace
}  // namespace enodia
