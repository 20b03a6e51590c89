// Each kind of made-up routing is what its name says.
#include "simulator/generated_trace.h"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>

namespace enodia {
namespace {

using ::testing::Each;

RoutingTrace preset(std::string_view name) {
  const auto presets = trace_presets();
  const auto found = std::find_if(
      presets.begin(), presets.end(), [&](const TracePreset& p) { return p.name == name; });
  return on_cluster(*found, 2, 4);
}

int64_t hottest(const RoutingTrace& trace, int sample) {
  const std::vector<int64_t> load = trace.at(sample, 0).totals();
  return std::max_element(load.begin(), load.end()) - load.begin();
}

/// Of the tokens of a micro-batch.
double share(const RoutingTrace& trace, int sample, int64_t expert) {
  const std::vector<int64_t> load = trace.at(sample, 0).totals();
  return static_cast<double>(load[expert]) /
         static_cast<double>(std::accumulate(load.begin(), load.end(), int64_t{0}));
}

TEST(GeneratedTrace, IsTheSameAgainAndWholeForEachRank) {
  for (const TracePreset& entry : trace_presets()) {
    const RoutingTrace one = preset(entry.name);
    const RoutingTrace other = preset(entry.name);
    for (int sample = 0; sample < one.num_samples(); ++sample) {
      EXPECT_TRUE(std::ranges::equal(one.at(sample, 1).tokens, other.at(sample, 1).tokens))
          << entry.name;
      for (int rank = 0; rank < 8; ++rank) {
        const auto row = one.at(sample, 1).tokens.subspan(rank * 16, 16);
        EXPECT_EQ(std::accumulate(row.begin(), row.end(), 0), 2000) << entry.name;
      }
    }
  }
}

TEST(GeneratedTrace, UniformHasNoHotExpertZipfHasOne) {
  const RoutingTrace uniform = preset("uniform");
  EXPECT_LT(share(uniform, 0, hottest(uniform, 0)) * 16, 1.15);
  const RoutingTrace zipf = preset("zipf");
  EXPECT_NEAR(share(zipf, 0, hottest(zipf, 0)), 1 / 3.38, 0.01);  // 1 + 1/2 + ... + 1/16 = 3.38
}

TEST(GeneratedTrace, BurstsChangeTheirExpertEachMicroBatch) {
  const RoutingTrace trace = preset("bursty");
  int changes = 0;
  for (int sample = 1; sample < trace.num_samples(); ++sample) {
    changes += hottest(trace, sample) != hottest(trace, sample - 1) ? 1 : 0;
  }
  EXPECT_GT(changes, trace.num_samples() * 3 / 4);
}

TEST(GeneratedTrace, APhaseShiftsHalfWay) {
  const RoutingTrace trace = preset("phase_shift");
  std::vector<int64_t> before;
  for (int sample = 0; sample < 10; ++sample) {
    before.push_back(hottest(trace, sample));
  }
  EXPECT_THAT(before, Each(before[0]));
  EXPECT_NE(hottest(trace, 10), before[0]);
  EXPECT_LT(share(trace, 10, before[0]), 0.1);
}

TEST(GeneratedTrace, TokensPreferExpertsOfHotNodes) {
  const RoutingTrace trace = preset("hot_nodes");
  int64_t at_home = 0;
  int64_t all = 0;
  for (int rank = 0; rank < 8; ++rank) {
    for (int expert = 0; expert < 16; ++expert) {
      const int64_t tokens = trace.at(0, 0).of(rank, expert);
      all += tokens;
      at_home += rank / 4 == expert / 8 ? tokens : 0;
    }
  }
  EXPECT_NEAR(static_cast<double>(at_home) / static_cast<double>(all), 0.8, 0.05);
}

}  // namespace
}  // namespace enodia
