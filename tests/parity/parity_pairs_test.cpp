// Pairs of everything that may be chosen for a step, by a covering design: any two choices meet in
// some case, which must compute what the reference computes.
#include "tests/parity/parity_pairs.h"

#include <set>
#include <string>

#include <gmock/gmock.h>

#include "tests/parity/covering_design.h"
#include "tests/parity/parity_comparison.h"

namespace enodia {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

class ParityPairs : public testing::TestWithParam<std::vector<int>> {};

TEST_P(ParityPairs, TheLayoutComputesWhatTheReferenceComputes) {
  const ParityCase parity_case = pair_case(GetParam());
  const auto [reference, alone] = run_references(parity_case);
  for (const ParityType type : {ParityType::kFloat64, ParityType::kFloat32}) {
    const OneRankRuns one_rank = run_one_rank(parity_case, type);
    for (const auto& run : one_rank) {
      EXPECT_THAT(compare_one_rank("w1", run, alone, type), IsEmpty());
    }
    const auto layout = run_parity_case_on_threads(parity_case, parity_case.layout, type);
    EXPECT_THAT(compare_layout("layout", layout, one_rank, reference, type), IsEmpty());
  }
  EXPECT_THAT(bfloat16_violations(parity_case), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Rows, ParityPairs, testing::ValuesIn(pair_rows()), [](const auto& test) {
  return name_of_pairs(test.param);
});

TEST(CoveringDesign, HasEveryPairInFewRows) {
  const auto rows = pair_rows();
  const std::vector<int>& levels = pair_levels();
  EXPECT_LE(rows.size(), 56U);  // 8 x 5 at least
  for (size_t f = 0; f < levels.size(); ++f) {
    for (size_t g = f + 1; g < levels.size(); ++g) {
      std::set<std::pair<int, int>> seen;
      for (const auto& row : rows) {
        seen.emplace(row[f], row[g]);
      }
      EXPECT_THAT(seen, SizeIs(levels[f] * levels[g])) << f << " " << g;
    }
  }
  EXPECT_THAT(covering_design({1}), SizeIs(1));
}

}  // namespace
}  // namespace enodia
