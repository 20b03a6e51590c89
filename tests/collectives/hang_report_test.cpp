#include "collectives/watch/hang_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

Operation tokens(int64_t sequence) {
  return {Traffic::kTokens, OperationKind::kExchange, sequence, 4096};
}

/// A rank in step 3 that has started `sequence` operations on tokens and maybe waits in the last.
ObservedRank rank_at(int rank, int64_t sequence, bool waits) {
  ObservedRank observed;
  observed.status.rank = rank;
  observed.status.process = 4000 + rank;
  observed.status.section = RunSection::kStep;
  observed.status.step = 3;
  observed.status.started[static_cast<size_t>(Traffic::kTokens)] = tokens(sequence);
  if (waits) {
    observed.status.waiting = tokens(sequence);
  }
  return observed;
}

TEST(HangReport, NamesTheRankThatIsStoppedAndTheOperation) {
  std::vector<ObservedRank> ranks{rank_at(0, 57, true), rank_at(1, 56, false)};
  ranks[1].process = ProcessState::kStopped;
  EXPECT_THAT(
      hang_report(ranks, 0, 5, std::vector<int>(2, 0)),
      AllOf(HasSubstr("rank 0 of 2 has shown no sign of life for 5 s in step 3, where it "
                      "waits in tokens exchange 57 (4096 bytes)"),
            HasSubstr("rank 1 (process 4001, stopped by a signal) is in step 3 and waits in "
                      "no operation; it has NOT arrived at tokens exchange 57 (its last "
                      "there is tokens exchange 56); it will finish nothing"),
            EndsWith("rank 0 (process 4000) is in step 3 and waits in tokens exchange 57 "
                     "(4096 bytes)")));
}

TEST(HangReport, NamesARankInAnotherSectionAndOneThatIsGone) {
  std::vector<ObservedRank> ranks{
      rank_at(0, 57, true), rank_at(1, 0, false), rank_at(2, 57, true), rank_at(3, 57, false)};
  ranks[1].status.section = RunSection::kSave;
  ranks[3].process = ProcessState::kGone;
  const std::string report = hang_report(ranks, 2, 5, std::vector<int>(4, 0));
  EXPECT_THAT(
      report,
      AllOf(HasSubstr("rank 2 of 4 has shown"),
            HasSubstr("rank 1 (process 4001) is in section 'save' at step 3 and waits in no "
                      "operation; it has NOT arrived at tokens exchange 57 (its last there "
                      "is none)"),
            HasSubstr("rank 3 (process 4003, gone) is in step 3")));
  EXPECT_LT(report.find("rank 1 ("), report.find("rank 0 (")) << "those that are missing first";
}

TEST(HangReport, ARankThatHangsByItselfReportsForWhatTheOthersWait) {
  const std::vector<ObservedRank> ranks{rank_at(0, 57, true), rank_at(1, 56, false)};
  EXPECT_THAT(
      hang_report(ranks, 1, 5, std::vector<int>(2, 0)),
      AllOf(HasSubstr("rank 1 of 2 has shown no sign of life for 5 s in step 3, where it "
                      "waits in no operation"),
            HasSubstr("rank 1 (process 4001) is in step 3 and waits in no operation; it has "
                      "NOT arrived at tokens exchange 57")));
}

TEST(HangReport, ShowsBothSidesWhenOneHasLeftOutWhatTheOtherWaitsFor) {
  std::vector<ObservedRank> ranks{rank_at(0, 57, true), rank_at(1, 56, false)};
  const Operation next{Traffic::kControl, OperationKind::kBarrier, 9, 0};
  ranks[1].status.started[static_cast<size_t>(Traffic::kControl)] = next;
  ranks[1].status.waiting = next;
  for (const size_t reporter : {size_t{0}, size_t{1}}) {
    EXPECT_THAT(
        hang_report(ranks, reporter, 5, std::vector<int>(2, 0)),
        AllOf(HasSubstr("rank 0 (process 4000) is in step 3 and waits in tokens exchange 57 "
                        "(4096 bytes); it has NOT arrived at control barrier 9"),
              HasSubstr("rank 1 (process 4001) is in step 3 and waits in control barrier 9 "
                        "(0 bytes); it has NOT arrived at tokens exchange 57")));
  }
}

TEST(HangReport, ARankStoppedInsideTheOperationIsMissingToo) {
  std::vector<ObservedRank> ranks{rank_at(0, 57, true), rank_at(1, 57, true)};
  ranks[1].process = ProcessState::kStopped;
  EXPECT_THAT(
      hang_report(ranks, 0, 5, std::vector<int>(2, 0)),
      AllOf(HasSubstr(
                "4096 bytes) for rank 1\n  rank 1 (process 4001, stopped by a signal) is in step "
                "3 and waits in tokens exchange 57 (4096 bytes); it will finish "
                "nothing\n  rank 0"),
            Not(HasSubstr("lost"))));
}

TEST(HangReport, LooksElsewhereWhenAllOfTheNodeHaveArrived) {
  const std::vector<ObservedRank> ranks{rank_at(0, 57, true), rank_at(1, 57, true)};
  EXPECT_THAT(hang_report(ranks, 0, 5, std::vector<int>{0, 0, 1, 1}),
              HasSubstr("the missing one is on another node"));
  EXPECT_THAT(hang_report(ranks, 0, 5, std::vector<int>{0, 0}), HasSubstr("a message is lost"));
  std::vector<ObservedRank> unseen = ranks;
  unseen[1] = {};
  EXPECT_THAT(hang_report(unseen, 0, 5, std::vector<int>{0, 0}),
              AllOf(HasSubstr("cannot be seen"), Not(HasSubstr("lost"))));
}

TEST(HangReport, NamesRanksOfOtherNodesThatAreMissing) {
  const std::vector<ObservedRank> ranks{rank_at(0, 57, true), rank_at(1, 57, true)};
  const std::vector<int> nodes{0, 0, 1, 1};
  const ObservedNode late{1, {rank_at(2, 57, true), rank_at(3, 56, false)}};
  EXPECT_THAT(hang_report(ranks, 0, 5, nodes, std::span(&late, 1)),
              AllOf(HasSubstr("(4096 bytes) for rank 3\n  rank 3 on node 1 (process 4003) is in "
                              "step 3 and waits in no operation; it has NOT arrived at tokens "
                              "exchange 57"),
                    Not(HasSubstr("rank 2 on")),
                    Not(HasSubstr("another node"))));
  const ObservedNode there{1, {rank_at(2, 57, true), rank_at(3, 57, true)}};
  EXPECT_THAT(hang_report(ranks, 0, 5, nodes, std::span(&there, 1)),
              HasSubstr("a message is lost"));
}

TEST(HangReport, NamesANodeThatDoesNotAnswer) {
  const std::vector<ObservedRank> ranks{rank_at(0, 57, true), rank_at(1, 57, true)};
  const ObservedNode silent{1, {}};
  EXPECT_THAT(hang_report(ranks, 0, 5, std::vector<int>{0, 0, 1, 1}, std::span(&silent, 1)),
              AllOf(HasSubstr("node 1 (ranks 2, 3) does not answer"), Not(HasSubstr("lost"))));
}

}  // namespace
}  // namespace enodia
