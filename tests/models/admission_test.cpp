#include "models/router/admission.h"

#include <map>
#include <numeric>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace enodia {
namespace {

using testing::Each;
using testing::ElementsAre;

std::vector<int32_t> list(const at::Tensor& ids) {
  const auto* first = ids.const_data_ptr<int32_t>();
  return {first, first + ids.numel()};
}

/// Tokens that each chose one expert, all valid.
CopyCandidates candidates_of(const std::vector<int32_t>& experts) {
  CopyCandidates candidates;
  candidates.expert_ids = at::tensor(at::ArrayRef<int32_t>(experts), at::kInt).unsqueeze(1);
  candidates.valid = at::zeros({static_cast<int64_t>(experts.size())}, at::kBool).logical_not();
  return candidates;
}

Capacity room_for(int64_t copies, DropPolicy policy, uint64_t seed = 1) {
  return {copies, policy, RandomKey(seed)};
}

TEST(Capacity, IsAnEvenShareTimesTheFactorRoundedUp) {
  EXPECT_EQ(capacity_of(1.0, 16, 2, 8), 4);
  EXPECT_EQ(capacity_of(1.25, 16, 2, 8), 5);
  EXPECT_EQ(capacity_of(1.01, 16, 2, 8), 5);
  EXPECT_EQ(capacity_of(0.5, 1, 1, 8), 1);
  EXPECT_EQ(capacity_of(2.0, 0, 2, 8), 0);
}

TEST(Admission, ByPositionDropsTheLastTokens) {
  EXPECT_THAT(list(admit(candidates_of({3, 3, 1, 3, 3}), room_for(2, DropPolicy::kPosition))),
              ElementsAre(3, 3, 1, -1, -1));
}

TEST(Admission, ByProbsKeepsTheLargestScoresAndOfEqualOnesTheFirst) {
  CopyCandidates candidates = candidates_of({0, 0, 0, 0, 0});
  candidates.scores = at::tensor({0.2, 0.5, 0.3, 0.5, 0.5}, at::kDouble).unsqueeze(1);
  EXPECT_THAT(list(admit(candidates, room_for(2, DropPolicy::kProbs))),
              ElementsAre(-1, 0, -1, 0, -1));
}

TEST(Admission, TokensWithoutALabelTakeWhatValidOnesLeave) {
  CopyCandidates candidates = candidates_of({0, 0, 0, 0});
  candidates.valid[0] = false;
  candidates.valid[2] = false;
  EXPECT_THAT(list(admit(candidates, room_for(3, DropPolicy::kPosition))),
              ElementsAre(0, 0, -1, 0));
  EXPECT_THAT(list(admit(candidates, room_for(1, DropPolicy::kPosition))),
              ElementsAre(-1, 0, -1, -1));
}

TEST(Admission, AtRandomKeepsEachTokenEquallyOften) {
  constexpr int kRuns = 4000;
  constexpr int64_t kTokens = 8, kRoom = 3;
  std::map<int64_t, int> kept;
  for (int run = 0; run < kRuns; ++run) {
    const auto ids = list(admit(candidates_of(std::vector<int32_t>(kTokens, 2)),
                                room_for(kRoom, DropPolicy::kRandom, run)));
    int admitted = 0;
    for (int64_t t = 0; t < kTokens; ++t) {
      kept[t] += ids[t] >= 0 ? 1 : 0;
      admitted += ids[t] >= 0 ? 1 : 0;
    }
    ASSERT_EQ(admitted, kRoom);
  }
  // Chi squared over eight tokens, seven degrees of freedom: above 24 once in a thousand.
  const double expected = static_cast<double>(kRuns * kRoom) / kTokens;
  double chi_squared = 0;
  for (const auto& [token, count] : kept) {
    chi_squared += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_squared, 24.0);
}

TEST(Admission, AtRandomDependsOnTheTokensNumberInTheRunAlone) {
  const std::vector<int32_t> experts(12, 0);
  const auto whole = list(admit(candidates_of(experts), room_for(12, DropPolicy::kRandom)));
  EXPECT_THAT(whole, Each(0));
  CopyCandidates later = candidates_of(experts);
  later.first_token = 5;
  EXPECT_NE(list(admit(candidates_of(experts), room_for(6, DropPolicy::kRandom))),
            list(admit(later, room_for(6, DropPolicy::kRandom))));
}

TEST(Admission, FillsEveryExpertUpToItsRoomAndNoFurther) {
  const at::Tensor ids = at::randint(0, 5, {60, 2}, at::kInt);
  for (const DropPolicy policy : {DropPolicy::kPosition, DropPolicy::kProbs, DropPolicy::kRandom}) {
    CopyCandidates candidates{
        ids, at::rand({60, 2}, at::kDouble), at::zeros({60}, at::kBool).logical_not()};
    const at::Tensor admitted = admit(candidates, room_for(20, policy));
    for (int32_t expert = 0; expert < 5; ++expert) {
      const auto wanted = (ids == expert).sum().item<int64_t>();
      EXPECT_EQ((admitted == expert).sum().item<int64_t>(), std::min<int64_t>(wanted, 20));
    }
  }
}

TEST(Admission, IsOrdinaryWithoutTokens) {
  EXPECT_EQ(admit(candidates_of({}), room_for(2, DropPolicy::kRandom)).numel(), 0);
}

}  // namespace
}  // namespace enodia
