#include "collectives/decorators/checked.h"

#include <atomic>
#include <functional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/collectives.h"
#include "collectives/loopback/loopback.h"
#include "common/error.h"

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Runs `body` on checked communicators; every rank must throw a CommError that matches.
void expect_all_throw(int world_size,
                      const std::function<void(Communicator&)>& body,
                      const ::testing::Matcher<std::string>& message) {
  std::atomic<int> thrown = 0;
  run_loopback(world_size, [&](Communicator& communicator) {
    const auto checked = make_checked(communicator.split(0, 0));
    try {
      body(*checked);
    } catch (const CommError& error) {
      EXPECT_THAT(error.what(), message);
      ++thrown;
    }
  });
  EXPECT_EQ(thrown, world_size);
}

TEST(Checked, NamesDifferentOperationsAndTheirNumber) {
  expect_all_throw(
      3,
      [](Communicator& communicator) {
        communicator.barrier();
        std::vector<float> values(4);
        if (communicator.rank() == 1) {
          communicator.broadcast(view(std::span(values)), 2).wait();
        } else {
          communicator.all_reduce(view(std::span(values)), ReduceOp::kMax).wait();
        }
      },
      AllOf(HasSubstr("call 2 differs"),
            HasSubstr("rank 0 calls all_reduce(4 float32, max)"),
            HasSubstr("rank 1 calls broadcast(4 float32, root 2)")));
}

TEST(Checked, NamesDifferentRoots) {
  expect_all_throw(
      2,
      [](Communicator& communicator) {
        std::vector<float> values(4);
        communicator.broadcast(view(std::span(values)), communicator.rank()).wait();
      },
      AllOf(HasSubstr("root 0"), HasSubstr("root 1")));
}

TEST(Checked, NamesDifferentCountsOfAReduction) {
  expect_all_throw(
      3,
      [](Communicator& communicator) {
        std::vector<double> values(communicator.rank() == 2 ? 5 : 4);
        communicator.all_reduce(view(std::span(values)), ReduceOp::kSum).wait();
      },
      AllOf(HasSubstr("rank 0 calls all_reduce(4 float64, sum)"),
            HasSubstr("rank 2 calls all_reduce(5 float64, sum)")));
}

TEST(Checked, NamesTheMessageThatDoesNotFit) {
  expect_all_throw(
      3,
      [](Communicator& communicator) {
        std::vector<float> first(2);
        std::vector<float> second(communicator.rank() == 1 ? 3 : 4);
        std::vector<Message> messages{{0, view(std::span(first))}, {0, view(std::span(second))}};
        if (communicator.rank() == 0) {
          messages[0].peer = messages[1].peer = 1;
          communicator.exchange(messages, {}).wait();
        } else {
          communicator.exchange({}, communicator.rank() == 1 ? messages : std::vector<Message>())
              .wait();
        }
      },
      AllOf(HasSubstr("from rank 0 to rank 1"),
            HasSubstr("number 1 is sent as 4 float32 but expected as 3 float32")));
}

TEST(Checked, NamesAMissingMessage) {
  expect_all_throw(
      2,
      [](Communicator& communicator) {
        std::vector<float> values(2);
        if (communicator.rank() == 1) {
          communicator.exchange({}, std::vector<Message>{{0, view(std::span(values))}}).wait();
        } else {
          communicator.exchange({}, {}).wait();
        }
      },
      AllOf(HasSubstr("from rank 0 to rank 1"), HasSubstr("0 are sent but 1 expected")));
}

TEST(Checked, ASplitIsCheckedAsWell) {
  expect_all_throw(
      4,
      [](Communicator& communicator) {
        const auto half = communicator.split(communicator.rank() % 2, 0);
        std::vector<float> values(half->rank() == 0 ? 1 : 2);
        half->all_reduce(view(std::span(values)), ReduceOp::kSum).wait();
      },
      HasSubstr("call 1 differs"));
}

TEST(Checked, RefusesReceivesThatOverlap) {
  const auto communicator = make_checked(make_single_rank_communicator());
  std::vector<float> from(8);
  std::vector<float> to(8);
  const Buffer source = view(std::span(from));
  const Buffer target = view(std::span(to));
  const std::vector<Message> sends{{0, source.slice(0, 4)}, {0, source.slice(4, 4)}};
  const std::vector<Message> apart{{0, target.slice(4, 4)}, {0, target.slice(0, 4)}};
  const std::vector<Message> overlapping{{0, target.slice(3, 4)}, {0, target.slice(0, 4)}};
  communicator->exchange(sends, apart).wait();
  EXPECT_THROW(communicator->exchange(sends, overlapping).wait(), UsageError);
}

}  // namespace
}  // namespace enodia
