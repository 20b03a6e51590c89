#include "collectives/decorators/faulty.h"

#include <numeric>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "collectives/loopback/loopback.h"

namespace enodia {
namespace {

using testing::ElementsAre;

using Numbers = std::vector<double>;

/// What rank 0 of two sees after exchanging numbers twice with rank 1, which sends `first` and then
/// `second` in messages of two numbers, when the second exchange is corrupted.
Numbers exchange_twice(Numbers first, Numbers second, Corruption corruption) {
  Numbers seen;
  run_loopback(2, [&](Communicator& world) {
    const auto faulty = make_faulty(
        world.split(0, world.rank()), Traffic::kTokens, [&](const CompletedOperation& done) {
          if (done.index == 1 && !done.received.empty()) {
            EXPECT_TRUE(corrupt(done, corruption));
          }
        });
    for (Numbers* numbers : {&first, &second}) {
      std::vector<Message> messages;
      for (size_t i = 0; i < numbers->size(); i += 2) {
        messages.push_back({1 - world.rank(), view(std::span(*numbers).subspan(i, 2))});
      }
      if (world.rank() == 1) {
        faulty->exchange(messages, {}).wait();
        continue;
      }
      Numbers received(numbers->size());
      for (size_t i = 0; i < messages.size(); ++i) {
        messages[i].buffer.data = received.data() + 2 * i;
      }
      Work work = faulty->exchange({}, messages);
      while (!work.done()) {
      }
      EXPECT_EQ(received, *numbers) << "what is under way is left alone";
      work.wait();
      seen = received;
    }
  });
  return seen;
}

TEST(FaultyCommunicator, FalsifiesWhatOthersSendOnceItIsWaitedFor) {
  EXPECT_THAT(exchange_twice({1, 2, 3, 4}, {5, 6, 7, 8}, Corruption::kDrop),
              ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(exchange_twice({1, 2, 3, 4}, {5, 6, 7, 8}, Corruption::kScale),
              ElementsAre(10, 12, 14, 16));
  EXPECT_THAT(exchange_twice({1, 2, 3, 4}, {5, 6, 7, 8}, Corruption::kSwap),
              ElementsAre(8, 6, 7, 5));
  EXPECT_THAT(exchange_twice({1, 2}, {5, 6}, Corruption::kSwap), ElementsAre(6, 5));
  EXPECT_THAT(exchange_twice({1, 2, 3, 4}, {5, 6, 7, 8}, Corruption::kStale),
              ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(exchange_twice({1, 2}, {5, 6, 7, 8}, Corruption::kStale), ElementsAre(1, 2, 1, 2));
}

TEST(FaultyCommunicator, ADroppedReductionLeavesTheRanksOwnContribution) {
  run_loopback(3, [](Communicator& world) {
    const auto faulty = make_faulty(
        world.split(0, world.rank()), Traffic::kControl, [](const CompletedOperation& done) {
          EXPECT_EQ(done.dtype, DType::kInt64);
          EXPECT_TRUE(corrupt(done, Corruption::kDrop));
        });
    int64_t value = 10 + world.rank();
    faulty->all_reduce(view(std::span<int64_t>(&value, 1)), ReduceOp::kSum).wait();
    EXPECT_EQ(value, 10 + world.rank());
  });
}

TEST(Corruption, SaysWhenNoNumberChanges) {
  Numbers numbers{0.0, -0.0};
  const CompletedOperation zeros{.dtype = DType::kFloat64,
                                 .received = {view(std::span<double>(numbers))}};
  for (const Corruption corruption : kAllCorruptions) {
    EXPECT_FALSE(corrupt(zeros, corruption)) << name_of(corruption);
    EXPECT_FALSE(corrupt(CompletedOperation{}, corruption)) << name_of(corruption);
  }
}

TEST(FaultyCommunicator, ShowsNothingInAWorldOfOneAndCountsBarriers) {
  std::vector<std::pair<OperationKind, int64_t>> seen;
  const auto faulty = make_faulty(
      make_single_rank_communicator(), Traffic::kTokens, [&](const CompletedOperation& done) {
        EXPECT_TRUE(done.received.empty());
        seen.emplace_back(done.kind, done.index);
      });
  double value = 1.0;
  const Buffer buffer = view(std::span<double>(&value, 1));
  faulty->all_reduce(buffer, ReduceOp::kSum).wait();
  faulty->barrier();
  faulty->exchange(std::vector<Message>{{0, buffer}}, std::vector<Message>{{0, buffer}}).wait();
  EXPECT_THAT(seen,
              ElementsAre(std::pair(OperationKind::kAllReduce, int64_t{0}),
                          std::pair(OperationKind::kBarrier, int64_t{1}),
                          std::pair(OperationKind::kExchange, int64_t{2})));
}

}  // namespace
}  // namespace enodia
