#include "collectives/watch/status_board.h"

#include <atomic>

#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"

#include <unistd.h>

namespace enodia {
namespace {

TEST(StatusBoard, ShowsEveryRankOfTheNodeAndNoOther) {
  run_loopback(5,
               [](Communicator& world) {
                 StatusBoard board(world);
                 board.enter(RunSection::kStep, 10 + world.rank());
                 world.barrier();
                 const bool first_node = world.rank() < 3;
                 EXPECT_EQ(board.num_slots(), first_node ? 3 : 2);
                 EXPECT_EQ(board.own_slot(), first_node ? world.rank() : world.rank() - 3);
                 for (int slot = 0; slot < board.num_slots(); ++slot) {
                   const RankStatus status = board.read(slot);
                   const int rank = first_node ? slot : slot + 3;
                   EXPECT_EQ(status.rank, rank);
                   EXPECT_EQ(status.process, ::getpid());
                   EXPECT_EQ(status.section, RunSection::kStep);
                   EXPECT_EQ(status.step, 10 + rank);
                   EXPECT_FALSE(status.waiting);
                 }
                 world.barrier();
               },
               {0, 0, 0, 1, 1});
}

TEST(StatusBoard, EveryWriteIsASignOfLife) {
  const auto world = make_single_rank_communicator();
  StatusBoard board(*world);
  const auto signs = [&] { return board.read(0).signs_of_life; };
  const Operation operation{Traffic::kReplicas, OperationKind::kExchange, 7, 64};
  uint64_t last = signs();
  const auto expect_sign = [&](const char* what) {
    EXPECT_GT(signs(), last) << what;
    last = signs();
  };
  board.enter(RunSection::kSave, 3);
  expect_sign("enter");
  board.beat();
  expect_sign("beat");
  board.start(operation);
  expect_sign("start");
  board.wait_for(operation);
  expect_sign("wait_for");
  EXPECT_EQ(board.read(0).waiting->name(), "replicas exchange 7");
  board.go_on();
  expect_sign("go_on");
  EXPECT_FALSE(board.read(0).waiting);
  board.finish(operation);
  expect_sign("finish");
}

TEST(StatusBoard, OneRankOfTheNodeSpeaksForAll) {
  std::atomic<int> claims = 0;
  run_loopback(4,
               [&](Communicator& world) {
                 StatusBoard board(world);
                 EXPECT_FALSE(world.rank() == 3 && board.report_is_claimed());
                 world.barrier();
                 claims += board.claim_report() ? 1 : 0;
                 EXPECT_TRUE(board.report_is_claimed());
                 board.add_speaker();
                 world.barrier();
                 EXPECT_EQ(board.num_speakers(), 2);
               },
               {0, 0, 1, 1});
  EXPECT_EQ(claims, 2) << "one of each node";
}

}  // namespace
}  // namespace enodia
