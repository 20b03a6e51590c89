#include "collectives/loopback/loopback.h"

#include <atomic>
#include <latch>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/collectives.h"
#include "collectives/decorators/checked.h"
#include "collectives/progress/communication_thread.h"
#include "common/error.h"
#include "tests/collectives/communicator_contract.h"

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class LoopbackContract : public ::testing::TestWithParam<std::tuple<int, ContractClause>> {};

TEST_P(LoopbackContract, Holds) {
  const auto& [world_size, clause] = GetParam();
  run_loopback(world_size, clause.body);
}

TEST_P(LoopbackContract, HoldsForTheCheckedDecorator) {
  const auto& [world_size, clause] = GetParam();
  run_loopback(world_size, [&clause = clause](Communicator& communicator) {
    clause.body(*make_checked(communicator.split(0, 0)));
  });
}

TEST_P(LoopbackContract, HoldsOnACommunicationThread) {
  const auto& [world_size, clause] = GetParam();
  run_loopback(world_size, [&clause = clause](Communicator& communicator) {
    CommunicationThread thread;
    clause.body(*thread.take_over(communicator.split(0, 0), Traffic::kTokens));
  });
}

TEST_P(LoopbackContract, HoldsOnACommunicationThreadWithTinyChunks) {
  const auto& [world_size, clause] = GetParam();
  run_loopback(world_size, [&clause = clause](Communicator& communicator) {
    CommunicationThread thread({.chunk_bytes = 100, .chunks_under_way = 3});
    clause.body(*thread.take_over(communicator.split(0, 0), Traffic::kGradients));
  });
}

/// Nodes of one to three ranks that do not follow each other.
std::vector<int> scattered_nodes(int world_size) {
  std::vector<int> nodes{0, 1, 0, 2, 0, 1, 2, 2};
  nodes.resize(static_cast<size_t>(world_size));
  return nodes;
}

TEST_P(LoopbackContract, HoldsOnSeveralNodes) {
  const auto& [world_size, clause] = GetParam();
  run_loopback(world_size, clause.body, scattered_nodes(world_size));
}

TEST_P(LoopbackContract, HoldsOnCommunicationThreadsOfSeveralNodes) {
  const auto& [world_size, clause] = GetParam();
  run_loopback(
      world_size,
      [&clause = clause](Communicator& communicator) {
        CommunicationThread thread({.chunk_bytes = 20'000, .chunks_under_way = 3});
        clause.body(*thread.take_over(communicator.split(0, 0), Traffic::kGradients));
      },
      scattered_nodes(world_size));
}

INSTANTIATE_TEST_SUITE_P(Worlds,
                         LoopbackContract,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4, 8),
                                            ::testing::ValuesIn(contract_clauses().begin(),
                                                                contract_clauses().end())),
                         [](const auto& test) {
                           return std::string(std::get<1>(test.param).name) + "OnWorld" +
                                  std::to_string(std::get<0>(test.param));
                         });

class SingleRankContract : public ::testing::TestWithParam<ContractClause> {};

TEST_P(SingleRankContract, Holds) {
  const auto communicator = make_single_rank_communicator();
  GetParam().body(*communicator);
}

INSTANTIATE_TEST_SUITE_P(All,
                         SingleRankContract,
                         ::testing::ValuesIn(contract_clauses().begin(), contract_clauses().end()),
                         [](const auto& test) { return std::string(test.param.name); });

Work send_to(Communicator& communicator, int peer, std::vector<float>& values) {
  return communicator.exchange(std::vector<Message>{{peer, view(std::span(values))}}, {});
}

Work receive_from(Communicator& communicator, int peer, std::vector<float>& values) {
  return communicator.exchange({}, std::vector<Message>{{peer, view(std::span(values))}});
}

TEST(Loopback, NobodyLeavesABarrierBeforeAllHaveEntered) {
  constexpr int kRanks = 4;
  std::atomic<int> entered = 0;
  run_loopback(kRanks, [&](Communicator& communicator) {
    for (int round = 1; round <= 50; ++round) {
      ++entered;
      communicator.barrier();
      EXPECT_GE(entered, kRanks * round);
      communicator.barrier();  // nobody enters the next round before all have looked
    }
  });
}

TEST(Loopback, AReceiverMayWaitForALaterMessageFirst) {
  run_loopback(2, [](Communicator& communicator) {
    std::vector<float> first{1};
    std::vector<float> second{2};
    if (communicator.rank() == 0) {
      // Finishes only if the receiver, which is waiting for the second, has taken the first.
      send_to(communicator, 1, first).wait();
      send_to(communicator, 1, second).wait();
    } else {
      Work on_first = receive_from(communicator, 0, first);
      Work on_second = receive_from(communicator, 0, second);
      on_second.wait();
      on_first.wait();
    }
  });
}

TEST(Loopback, TheSendersMemoryIsReadUntilItsWorkIsDone) {
  run_loopback(2, [](Communicator& communicator) {
    std::vector<float> values(100'000, static_cast<float>(communicator.rank()));
    if (communicator.rank() == 0) {
      for (int i = 1; i <= 20; ++i) {
        std::fill(values.begin(), values.end(), static_cast<float>(i));
        send_to(communicator, 1, values).wait();
      }
    } else {
      for (int i = 1; i <= 20; ++i) {
        receive_from(communicator, 0, values).wait();
        EXPECT_THAT(values, ::testing::Each(static_cast<float>(i)));
      }
    }
  });
}

TEST(Loopback, PretendsToLiveOnTheGivenNodes) {
  run_loopback(4,
               [](Communicator& communicator) {
                 EXPECT_THAT(communicator.nodes(), ElementsAre(0, 1, 0, 2));
                 const auto reversed = communicator.split(0, -communicator.rank());
                 EXPECT_THAT(reversed->nodes(), ElementsAre(0, 1, 2, 1));
               },
               {5, 3, 5, 9});
  EXPECT_THROW(run_loopback(2, [](Communicator&) {}, {0, 0, 0}), UsageError);
  EXPECT_THROW(run_loopback(0, [](Communicator&) {}), UsageError);
}

TEST(Loopback, ACopyGoesThroughTheGivenQueue) {
  QueueTable table = host_queue_table();
  table.copy = [](void* queue, void* to, const void* from, size_t bytes) {
    ++*static_cast<std::atomic<int>*>(queue);
    host_queue_table().copy(nullptr, to, from, bytes);
  };
  std::atomic<int> copies = 0;
  run_loopback(2, [&](Communicator& communicator) {
    std::vector<float> mine{1};
    std::vector<float> theirs{0};
    const std::vector<Message> sends{{1 - communicator.rank(), view(std::span(mine))}};
    const std::vector<Message> receives{{1 - communicator.rank(), view(std::span(theirs))}};
    communicator.exchange(sends, receives, Queue(table, &copies)).wait();
    EXPECT_EQ(theirs, mine);
  });
  EXPECT_EQ(copies, 2);
}

// ---- failures ----

TEST(LoopbackFailure, ADifferentCountThrowsOnBothRanks) {
  const auto message =
      AllOf(HasSubstr("rank 0 sends 3 float32 to rank 1"), HasSubstr("expects 2 float32"));
  for (const int first_rank : {0, 1}) {  // who posts first must not matter
    run_loopback(2, [&](Communicator& communicator) {
      std::vector<float> values(communicator.rank() == 0 ? 3 : 2);
      const auto aside = communicator.split(0, 0);
      std::vector<int32_t> turn(1);
      const auto post = [&] {
        return communicator.rank() == 0 ? send_to(communicator, 1, values)
                                        : receive_from(communicator, 0, values);
      };
      Work early = communicator.rank() == first_rank ? post() : Work();
      const std::vector<Message> token{{1 - communicator.rank(), view(std::span(turn))}};
      if (communicator.rank() != first_rank) {  // waits until the other has posted
        aside->exchange({}, token).wait();
        early = post();
      } else {
        aside->exchange(token, {}).wait();
      }
      EXPECT_THAT([&] { early.wait(); }, ThrowsMessage<CommError>(message));
    });
  }
}

TEST(LoopbackFailure, ADifferentDTypeThrowsOnBothRanks) {
  std::atomic<int> thrown = 0;
  run_loopback(2, [&](Communicator& communicator) {
    std::vector<float> floats(2);
    std::vector<int32_t> integers(2);
    try {
      if (communicator.rank() == 0) {
        send_to(communicator, 1, floats).wait();
      } else {
        communicator.exchange({}, std::vector<Message>{{0, view(std::span(integers))}}).wait();
      }
    } catch (const CommError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("2 float32"), HasSubstr("2 int32")));
      ++thrown;
    }
  });
  EXPECT_EQ(thrown, 2);
}

TEST(LoopbackFailure, TheFirstRealExceptionIsRethrown) {
  std::atomic<int> echoes = 0;
  const auto body = [&](Communicator& communicator) {
    if (communicator.rank() == 2) {
      throw FileError("the disk is full");
    }
    try {
      communicator.barrier();
    } catch (const CommError& error) {
      EXPECT_THAT(error.what(), HasSubstr("rank 2 failed: the disk is full"));
      ++echoes;
      throw;
    }
  };
  EXPECT_THAT([&] { run_loopback(4, body); }, ThrowsMessage<FileError>("the disk is full"));
  EXPECT_EQ(echoes, 3);
}

TEST(LoopbackFailure, LaterOperationsOfGroupsFailAsWell) {
  std::atomic<int> echoes = 0;
  std::latch split(3);
  const auto body = [&](Communicator& communicator) {
    const auto pair = communicator.split(communicator.rank() / 2, 0);
    if (communicator.rank() == 3) {
      split.wait();
      throw std::runtime_error("one");
    }
    split.count_down();
    EXPECT_THROW(communicator.barrier(), CommError);
    // Ranks 0 and 1 could still talk to each other, but their world has failed.
    EXPECT_THROW(all_reduce_value(*pair, 1.0, ReduceOp::kSum), CommError);
    ++echoes;
  };
  EXPECT_THROW(run_loopback(4, body), std::runtime_error);
  EXPECT_EQ(echoes, 3);
}

TEST(LoopbackFailure, ExceptionsOfAnyTypeEndTheWorld) {
  const auto body = [](Communicator& communicator) {
    if (communicator.rank() == 0) {
      throw 42;
    }
    communicator.barrier();
  };
  EXPECT_THROW(run_loopback(2, body), int);
}

TEST(LoopbackFailure, WaitingForARankThatHasEndedFails) {
  const auto receiving = [](Communicator& communicator) {
    std::vector<float> values(1);
    if (communicator.rank() == 0) {
      receive_from(communicator, 1, values).wait();
    }
  };
  EXPECT_THAT([&] { run_loopback(2, receiving); },
              ThrowsMessage<CommError>(HasSubstr("rank 1 has ended, but rank 0")));
  const auto calling_once_more = [](Communicator& communicator) {
    communicator.barrier();
    if (communicator.rank() == 1) {
      communicator.barrier();
    }
  };
  EXPECT_THAT([&] { run_loopback(3, calling_once_more); },
              ThrowsMessage<CommError>(HasSubstr("but rank 1 exchanges messages with it")));
}

TEST(LoopbackFailure, TheNextWorldIsUnharmed) {
  EXPECT_THROW(run_loopback(2, [](Communicator&) { throw std::runtime_error("one"); }),
               std::runtime_error);
  run_loopback(2, [](Communicator& communicator) {
    EXPECT_EQ(all_reduce_value(communicator, 1, ReduceOp::kSum), 2);
  });
}

}  // namespace
}  // namespace enodia
