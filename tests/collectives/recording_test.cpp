#include "collectives/decorators/recording.h"

#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/collectives.h"
#include "collectives/loopback/loopback.h"
#include "common/error.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;

/// Sends `count` floats to the next rank, one to oneself, and receives likewise.
void pass_on(Communicator& communicator, int64_t count) {
  const int world = communicator.world_size();
  std::vector<float> from(static_cast<size_t>(count)), to(static_cast<size_t>(count));
  float own = 1, copy = 0;
  const std::vector<Message> sends{{(communicator.rank() + 1) % world, view(std::span(from))},
                                   {communicator.rank(), view(std::span<float>(&own, 1))}};
  const std::vector<Message> receives{
      {(communicator.rank() + world - 1) % world, view(std::span(to))},
      {communicator.rank(), view(std::span<float>(&copy, 1))}};
  communicator.exchange(sends, receives).wait();
  EXPECT_EQ(copy, 1);
}

TEST(Recording, CountsOperationsAndBytesExactly) {
  run_loopback(3, [](Communicator& world) {
    Recorder recorder;
    const auto tokens = recorder.record(world.split(0, world.rank()), Traffic::kTokens);
    const auto gradients = recorder.record(world.split(0, world.rank()), Traffic::kGradients);
    pass_on(*tokens, 10);
    pass_on(*tokens, 5);
    const CommunicationCounts before = recorder.counts();
    std::vector<double> values(100, world.rank());
    gradients->all_reduce(view(std::span(values)), ReduceOp::kSum).wait();
    gradients->broadcast(view(std::span(values)), 1).wait();
    gradients->barrier();
    EXPECT_EQ(values[99], 3);

    const CommunicationCounts counts = recorder.counts();
    EXPECT_EQ(counts[Traffic::kTokens].operations, 2);
    EXPECT_EQ(counts[Traffic::kTokens].bytes_sent, 15 * 4);
    EXPECT_EQ(counts[Traffic::kTokens].bytes_received, 15 * 4);
    EXPECT_EQ(counts[Traffic::kControl].operations, 0);
    const CommunicationCounts since = counts - before;
    EXPECT_EQ(since[Traffic::kTokens].operations, 0);
    EXPECT_EQ(since[Traffic::kTokens].exposed_ns, 0);
    EXPECT_EQ(since[Traffic::kGradients].operations, 3);
    EXPECT_EQ(since[Traffic::kGradients].bytes_sent, 800 + (world.rank() == 1 ? 800 : 0));
    EXPECT_EQ(since[Traffic::kGradients].bytes_received, 800 + (world.rank() == 1 ? 0 : 800));
    EXPECT_GT(since[Traffic::kGradients].exposed_ns, 0);
    EXPECT_EQ(since.exposed_ns(), since[Traffic::kGradients].exposed_ns);
  });
}

TEST(Recording, AWorldOfOneSendsNothing) {
  Recorder recorder;
  const auto alone = recorder.record(make_single_rank_communicator(), Traffic::kControl);
  EXPECT_EQ(all_reduce_value(*alone, 7, ReduceOp::kSum), 7);
  pass_on(*alone, 3);
  EXPECT_EQ(recorder.counts()[Traffic::kControl].operations, 2);
  EXPECT_EQ(recorder.counts()[Traffic::kControl].bytes_sent, 0);
  EXPECT_EQ(recorder.counts()[Traffic::kControl].bytes_received, 0);
}

TEST(Recording, SequenceNumbersAreEqualOnAllRanksAndNameTheSpans) {
  run_loopback(3, [](Communicator& world) {
    Trace trace;
    trace.switch_on();
    Recorder recorder(&trace);
    const auto first = recorder.record(world.split(0, world.rank()), Traffic::kTokens);
    const auto second = recorder.record(world.split(0, world.rank()), Traffic::kControl);
    pass_on(*first, 4);
    second->barrier();
    pass_on(*first, 1);
    std::vector<std::string> names;
    for (const TraceSpan& span : trace.take()) {
      EXPECT_EQ(span.track, TraceTrack::kWaiting);
      EXPECT_LE(span.start, span.end);
      if (names.empty() || names.back() != span.name) {  // the call and the wait are two spans
        names.push_back(span.name);
      }
    }
    EXPECT_THAT(names, ElementsAre("tokens exchange 1", "control barrier 1", "tokens exchange 2"));
  });
}

TEST(Recording, TheBoardShowsWhatStartedAndWhatIsDone) {
  run_loopback(2, [](Communicator& world) {
    StatusBoard board(world);
    Recorder recorder(nullptr, &board);
    const auto tokens = recorder.record(world.split(0, world.rank()), Traffic::kTokens);
    pass_on(*tokens, 4);
    std::vector<float> values(6);
    Work work = tokens->all_reduce(view(std::span(values)), ReduceOp::kSum);
    const auto at = static_cast<size_t>(Traffic::kTokens);
    const RankStatus under_way = board.read(board.own_slot());
    EXPECT_EQ(under_way.started[at].name(), "tokens all_reduce 2");
    EXPECT_EQ(under_way.started[at].bytes, 2 * 24);
    EXPECT_EQ(under_way.finished[at].name(), "tokens exchange 1");
    EXPECT_FALSE(under_way.waiting);
    work.wait();
    const RankStatus after = board.read(board.own_slot());
    EXPECT_EQ(after.finished[at].name(), "tokens all_reduce 2");
    EXPECT_GT(after.signs_of_life, under_way.signs_of_life);
  });
}

TEST(Recording, TheBoardShowsForWhatARankWaits) {
  run_loopback(2, [](Communicator& world) {
    StatusBoard board(world);
    Recorder recorder(nullptr, &board);
    const auto control = recorder.record(world.split(0, world.rank()), Traffic::kControl);
    if (world.rank() == 0) {
      control->barrier();
    } else {
      RankStatus other;
      do {
        other = board.read(0);
      } while (!other.waiting);
      EXPECT_EQ(other.rank, 0);
      EXPECT_EQ(other.waiting->name(), "control barrier 1");
      EXPECT_EQ(board.read(1).started[0].sequence, 0);
      control->barrier();
    }
  });
}

TEST(Recording, AnOperationLeftOutIsNotCarriedOut) {
  Recorder recorder;
  const auto alone = recorder.record(make_single_rank_communicator(), Traffic::kGradients);
  recorder.leave_out_next(Traffic::kGradients);
  const float from = 3;
  float to = 0;
  const std::vector<Message> sends{{0, view(std::span(&from, 1))}};
  const std::vector<Message> receives{{0, view(std::span(&to, 1))}};
  alone->exchange(sends, receives).wait();
  EXPECT_EQ(to, 0);
  EXPECT_EQ(recorder.counts()[Traffic::kGradients].operations, 0);
  alone->exchange(sends, receives).wait();
  EXPECT_EQ(to, 3);
  EXPECT_EQ(recorder.counts()[Traffic::kGradients].operations, 1);
}

}  // namespace
}  // namespace enodia
