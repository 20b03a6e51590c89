#include "collectives/watch/board_network.h"

#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"

namespace enodia {
namespace {

TEST(BoardNetwork, ShowsWhatRanksOfOtherNodesDo) {
  run_loopback(5,
               [](Communicator& world) {
                 StatusBoard board(world);
                 const BoardNetwork network(world, board);
                 board.enter(RunSection::kStep, 10 + world.rank());
                 const Operation operation{
                     Traffic::kTokens, OperationKind::kExchange, 100 + world.rank(), 64};
                 board.start(operation);
                 board.wait_for(operation);
                 world.barrier();
                 const auto others = network.ask(std::chrono::seconds(20));
                 ASSERT_EQ(others.size(), 2);
                 for (const ObservedNode& node : others) {
                   EXPECT_NE(node.node, world.nodes()[world.rank()]);
                   ASSERT_EQ(node.ranks.size(), node.node == 2 ? 1 : 2) << node.node;
                   for (const ObservedRank& rank : node.ranks) {
                     EXPECT_EQ(world.nodes()[rank.status.rank], node.node);
                     EXPECT_EQ(rank.status.step, 10 + rank.status.rank);
                     EXPECT_EQ(rank.process, ProcessState::kRuns);
                     ASSERT_TRUE(rank.status.waiting);
                     EXPECT_EQ(rank.status.waiting->sequence, 100 + rank.status.rank);
                   }
                 }
                 world.barrier();
               },
               {0, 0, 1, 1, 2});
}

TEST(BoardNetwork, AsksNobodyWhereThereIsOneNode) {
  run_loopback(2, [](Communicator& world) {
    StatusBoard board(world);
    EXPECT_TRUE(BoardNetwork(world, board).ask(std::chrono::seconds(1)).empty());
  });
}

TEST(ObservedRank, TravelsAsNumbers) {
  ObservedRank rank;
  rank.status.rank = 7;
  rank.status.section = RunSection::kSave;
  rank.status.finished[1] = {Traffic::kTokens, OperationKind::kBroadcast, 5, 9};
  rank.process = ProcessState::kStopped;
  const std::vector<int64_t> numbers = to_numbers(std::vector<ObservedRank>{rank, rank});
  const std::vector<ObservedRank> back = observed_ranks(numbers);
  ASSERT_EQ(back.size(), 2);
  EXPECT_EQ(to_numbers(back), numbers);
  EXPECT_EQ(back[1].status.section, RunSection::kSave);
  EXPECT_FALSE(back[1].status.waiting);
  EXPECT_TRUE(observed_ranks(std::span(numbers).first(numbers.size() - 1)).empty());
}

}  // namespace
}  // namespace enodia
