#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/sentence.h"
#include "tests/trainer/config_testing.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::kMinimal;
using testing::parse;
using testing::problems_of;
using ::testing::StartsWith;

std::vector<std::string> layout_problems(const std::vector<std::string>& overrides,
                                         int world_size) {
  return problems_of(kMinimal, overrides, world_size);
}

TEST(ConfigLayout, AutoFitsEveryWorldThatDividesTheBatch) {
  EXPECT_THAT(layout_problems({}, 1), IsEmpty());
  EXPECT_THAT(layout_problems({}, 2), IsEmpty());
  EXPECT_THAT(layout_problems({"train.global_batch_size=24"}, 3), IsEmpty());
  EXPECT_THAT(layout_problems({"parallel.dp=2", "parallel.ep=1"}, 2), IsEmpty());
}

TEST(ConfigLayout, GlobalBatchIsAMultipleOfAllRanksMicroBatches) {
  EXPECT_THAT(layout_problems({}, 3),
              ElementsAre("tiny.yaml:5:3: train.global_batch_size (8) must be a multiple of "
                          "train.micro_batch_size (4) times the number of ranks (3) over "
                          "parallel.tp (1); set it to 12"));
  EXPECT_THAT(
      layout_problems({"train.global_batch_size=20"}, 2),
      ElementsAre(
          "--set train.global_batch_size: train.global_batch_size (20) must be a "
          "multiple of train.micro_batch_size (4) times the number of ranks (2) over "
          "parallel.tp (1); set it to 16 or 24, or train.micro_batch_size to 1, 2, 5 or 10"));
}

TEST(ConfigLayout, DpIsTheWorldAndEpDividesIt) {
  EXPECT_THAT(layout_problems({"parallel.dp=2"}, 1),
              ElementsAre("--set parallel.dp: parallel.dp (2) times parallel.tp (1) must be the "
                          "number of ranks (1); start 2 ranks, or set parallel.dp to auto or 1"));
  EXPECT_THAT(layout_problems({"parallel.ep=3", "train.global_batch_size=16"}, 4),
              ElementsAre("--set parallel.ep: parallel.ep (3) must divide the number of ranks (4); "
                          "set it to 1, 2 or 4, or to auto for all ranks"));
  EXPECT_THAT(layout_problems({"parallel.ep=4"}, 2),
              ElementsAre("--set parallel.ep: parallel.ep (4) must divide the number of ranks (2); "
                          "set it to 1 or 2, or to auto for all ranks"));
}

TEST(ConfigLayout, PlacementNeedsExpertsOverAllRanks) {
  EXPECT_THAT(layout_problems({"placement.policy=hecate"}, 2), IsEmpty());
  EXPECT_THAT(layout_problems({"placement.policy=owners", "parallel.ep=1"}, 2), IsEmpty());
  EXPECT_THAT(layout_problems({"placement.policy=hecate", "parallel.ep=1"}, 2),
              ElementsAre("--set placement.policy: placement.policy (hecate) needs experts over "
                          "all ranks, not over parallel.ep (1) of them; set parallel.ep to auto, "
                          "or placement.policy to owners"));
}

/// Of the minimal configuration with 4 experts, changed so, on as many ranks.
std::string policy_of(std::vector<std::string> overrides, int64_t ranks) {
  overrides.emplace_back("model.num_experts=4");
  const PlacementOptions options = parse(kMinimal, overrides).placement_options(ranks);
  return options.policy == nullptr ? "owners" : std::string(options.policy->name);
}

TEST(ConfigLayout, ReplicasAreTheDefaultWhereEachRankOwnsExperts) {
  EXPECT_EQ(policy_of({}, 4), "enodia");
  EXPECT_EQ(policy_of({}, 1), "owners");
  EXPECT_EQ(policy_of({}, 8), "owners");  // 4 experts: each is on two ranks already
  EXPECT_EQ(policy_of({"parallel.ep=2"}, 4), "owners");
  EXPECT_EQ(policy_of({"placement.policy=owners"}, 4), "owners");
  EXPECT_EQ(policy_of({"placement.policy=hecate"}, 4), "hecate");
}

TEST(ConfigLayout, OwnersMoveWhereExpertsHaveOneHome) {
  EXPECT_THAT(layout_problems({"placement.reshard_interval=9"}, 2), IsEmpty());
  EXPECT_THAT(layout_problems({"placement.reshard_interval=9", "parallel.ep=1"}, 2),
              ElementsAre("--set placement.reshard_interval: placement.reshard_interval (9) needs "
                          "experts over all ranks, not over parallel.ep (1) of them; set "
                          "parallel.ep to auto, or placement.reshard_interval to 0"));
  const std::vector<std::string> few{
      "placement.reshard_interval=9", "model.num_experts=1", "model.num_experts_per_tok=1"};
  EXPECT_THAT(layout_problems(few, 2),
              ElementsAre("--set placement.reshard_interval: placement.reshard_interval (9) "
                          "without a placement.policy (auto) needs model.num_experts (1) to be "
                          "at least the number of ranks (2); set it to 0, or placement.policy to "
                          "enodia"));
  EXPECT_THAT(layout_problems(few, 1), IsEmpty());
}

TEST(ConfigLayout, IsCheckedWithEverythingElse) {
  EXPECT_THAT(layout_problems({"parallel.ep=3", "optim.lr=fast"}, 4),
              ElementsAre(StartsWith("tiny.yaml:5:3: train.global_batch_size (8) must"),
                          StartsWith("--set optim.lr: optim.lr must be a number"),
                          StartsWith("--set parallel.ep: parallel.ep (3) must divide")));
}

TEST(ConfigLayout, ProblemsAreThrownTogether) {
  throw_problems({});
  try {
    throw_problems({{"a:1:2", "one"}, {"", "two"}});
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "a:1:2: one\ntwo");
  }
}

TEST(Sentence, ListsDivisors) {
  EXPECT_EQ(list_divisors(1), "1");
  EXPECT_EQ(list_divisors(7), "1 or 7");
  EXPECT_EQ(list_divisors(36), "1, 2, 3, 4, 6, 9, 12, 18 or 36");
  EXPECT_EQ(list_divisors(36, 3), "1, 2 or 3");
  EXPECT_EQ(list_alternatives({}), "");
}

}  // namespace
}  // namespace enodia
