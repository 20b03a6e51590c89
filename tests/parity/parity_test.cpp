#include <algorithm>
#include <optional>

#include <gmock/gmock.h>

#include "tests/parity/parity_comparison.h"

namespace enodia {
namespace {

using testing::IsEmpty;
using testing::Not;

class Parity : public testing::TestWithParam<ParityCase> {};

TEST_P(Parity, TheLayoutComputesWhatTheReferenceComputes) {
  const ParityCase& parity_case = GetParam();
  const auto [reference, alone] = run_references(parity_case);
  // Closer decisions could go either way in float32: the case needs other tokens.
  ASSERT_GT(reference.smallest_margin, 1e-4);
  const bool one_favorite = parity_case.name.find("AllToOneExpert") != std::string::npos;
  for (const ParityStep& step : reference.steps) {
    ASSERT_EQ(step.imbalance == 8.0, one_favorite) << step.imbalance;
    ASSERT_GT(step.grad_norm, parity_case.options.clip_norm) << "clipping is to be in force";
  }
  for (const ParityType type : {ParityType::kFloat64, ParityType::kFloat32}) {
    const std::string name = type == ParityType::kFloat64 ? "float64" : "float32";
    const OneRankRuns one_rank = run_one_rank(parity_case, type);
    for (const auto& run : one_rank) {
      EXPECT_THAT(compare_one_rank(name + " w1", run, alone, type), IsEmpty());
    }
    if (parity_case.layout.world_size > 1 || parity_case.layout.zero1 != Zero1::kOff) {
      const auto layout = run_parity_case_on_threads(parity_case, parity_case.layout, type);
      EXPECT_THAT(compare_layout(name, layout, one_rank, reference, type), IsEmpty());
    }
  }
}

TEST_P(Parity, TheLayoutComputesWhatTheReferenceComputesInBFloat16) {
  EXPECT_THAT(bfloat16_violations(GetParam()), IsEmpty());
}

TEST_P(Parity, TheLayoutGivesTheSameBitsAgainAndOnCommunicationThreads) {
  const ParityCase& parity_case = GetParam();
  const auto run = [&parity_case](const auto& how) {
    return how(parity_case, parity_case.layout, ParityType::kFloat32);
  };
  const auto plainly = [&run] {
    return run([](const auto&... arguments) { return run_parity_case_on_threads(arguments...); });
  };
  const auto first = plainly();
  EXPECT_THAT(differing_bits(first, plainly()), IsEmpty());
  EXPECT_THAT(differing_bits(first, run(run_parity_case_with_progress_threads)), IsEmpty());
}

TEST_P(Parity, WhatIsComputedAgainHasTheSameBits) {
  const ParityCase& parity_case = GetParam();
  const auto run = [&parity_case](Recompute recompute) {
    ParityLayout layout = parity_case.layout;
    layout.recompute = recompute;
    return run_parity_case_on_threads(parity_case, layout, ParityType::kFloat32);
  };
  const auto kept = run(Recompute::kNone);
  EXPECT_THAT(differing_bits(kept, run(Recompute::kExperts)), IsEmpty());
  EXPECT_THAT(differing_bits(kept, run(Recompute::kLayers)), IsEmpty());
}

// Tokens are rounded wherever they go, so that one rank rounds what any layout rounds. In float64 a
// value comes out at the other side of a rounding boundary once in a million million times.
TEST(ParityOfDispatch, InBFloat16RoundsAlikeInEveryLayout) {
  for (const char* name : {"W3Ep3", "W4Ep2Accumulation3", "W4Tp2Ep4", "W3Ep3RecomputedLayers"}) {
    const std::vector<ParityCase> cases = parity_cases();
    const ParityCase& parity_case =
        *std::find_if(cases.begin(), cases.end(), [&](const auto& c) { return c.name == name; });
    const auto run = [&](ParityLayout layout, std::optional<DType> dispatch_dtype) {
      layout.dispatch_dtype = dispatch_dtype;
      return run_parity_case_on_threads(parity_case, layout, ParityType::kFloat64);
    };
    const ReferenceRun alone{run({}, DType::kBFloat16)};
    const auto layout = run(parity_case.layout, DType::kBFloat16);
    EXPECT_THAT(compare_one_rank(name, layout, alone, ParityType::kFloat64), IsEmpty());
    EXPECT_THAT(compare_one_rank(name, layout, {run({}, {})}, ParityType::kFloat64),
                Not(IsEmpty()));
    EXPECT_THAT(compare_one_rank(name, layout, {run({}, {})}, ParityType::kBFloat16), IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, Parity, testing::ValuesIn(parity_cases()), [](const auto& test) {
  return test.param.name;
});

INSTANTIATE_TEST_SUITE_P(Plans, Parity, testing::ValuesIn(placement_cases()), [](const auto& test) {
  return test.param.name;
});

}  // namespace
}  // namespace enodia
