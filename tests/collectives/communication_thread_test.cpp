#include "collectives/progress/communication_thread.h"

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"
#include "common/error.h"

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// What the communicators below were asked for, and which of it may end.
class Ledger {
 public:
  void started(const std::string& name) {
    const std::lock_guard lock(mutex_);
    started_.push_back(name);
  }
  std::vector<std::string> started() const {
    const std::lock_guard lock(mutex_);
    return started_;
  }
  /// Blocks until `count` operations have started.
  std::vector<std::string> wait_for(size_t count) const {
    while (started().size() < count) {
      std::this_thread::yield();
    }
    return started();
  }
  std::atomic<bool> may_end = false;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> started_;
};

/// One rank whose exchanges end when the ledger lets them.
class SlowCommunicator : public Communicator {
 public:
  SlowCommunicator(std::string name, Ledger& ledger) : name_(std::move(name)), ledger_(ledger) {}
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  std::span<const int> nodes() const override { return nodes_; }
  void barrier() override {}
  std::unique_ptr<Communicator> split(int, int) override { return nullptr; }
  Work broadcast(Buffer, int, const Queue&) override { return {}; }

  Work exchange(std::span<const Message> sends, std::span<const Message>, const Queue&) override {
    ledger_.started(name_ + (sends.empty() ? "" : std::to_string(sends.front().buffer.count)));
    if (!sends.empty() && sends.front().buffer.count == 13) {
      throw CommError("thirteen is refused");
    }
    return Work(std::make_unique<Pending>(ledger_));
  }

 private:
  struct Pending : PendingOperation {
    explicit Pending(Ledger& ledger) : ledger_(ledger) {}
    void wait(const Queue&) override {
      while (!done()) {
        std::this_thread::yield();
      }
    }
    bool done() override { return ledger_.may_end; }
    Ledger& ledger_;
  };
  std::string name_;
  Ledger& ledger_;
  std::vector<int> nodes_{0};
};

class CommunicationThreads : public testing::Test {
 protected:
  std::unique_ptr<Communicator> take_over(CommunicationThread& thread, Traffic traffic) {
    return thread.take_over(
        std::make_unique<SlowCommunicator>(std::string(name_of(traffic)), ledger_), traffic);
  }
  /// A message of `count` bytes to this rank.
  Work send(Communicator& communicator, int64_t count) {
    const Message message{0, Buffer{memory_.data(), count, DType::kUInt8}};
    return communicator.exchange({&message, 1}, {});
  }

  Ledger ledger_;
  std::vector<uint8_t> memory_ = std::vector<uint8_t>(1000);
};

TEST_F(CommunicationThreads, KeepFourChunksUnderWayAndTheOrderOfACommunicator) {
  CommunicationThread thread({.chunk_bytes = 10});
  const auto tokens = take_over(thread, Traffic::kTokens);
  Work first = send(*tokens, 25);
  Work second = send(*tokens, 19);
  Work third = send(*tokens, 7);
  EXPECT_THAT(ledger_.wait_for(4), ElementsAre("tokens10", "tokens10", "tokens5", "tokens10"));
  EXPECT_FALSE(first.done());
  ledger_.may_end = true;
  third.wait();
  EXPECT_TRUE(first.done() && second.done());
  EXPECT_THAT(ledger_.started(), testing::SizeIs(6));
  EXPECT_EQ(ledger_.started().back(), "tokens7");
}

TEST_F(CommunicationThreads, LessUrgentTrafficKeepsOneChunkUnderWay) {
  CommunicationThread thread({.chunk_bytes = 10});
  const auto gradients = take_over(thread, Traffic::kGradients);
  const auto tokens = take_over(thread, Traffic::kTokens);
  Work urgent = send(*tokens, 1);
  EXPECT_THAT(ledger_.wait_for(1), ElementsAre("tokens1"));
  Work patient = send(*gradients, 100);
  EXPECT_THAT(ledger_.wait_for(2), ElementsAre("tokens1", "gradients10"));
  Work another = send(*tokens, 2);
  Work yet_another = send(*tokens, 3);
  EXPECT_THAT(ledger_.wait_for(4), ElementsAre("tokens1", "gradients10", "tokens2", "tokens3"));
  ledger_.may_end = true;
  patient.wait();
}

TEST_F(CommunicationThreads, WhatSomebodyWaitsForGoesFirst) {
  CommunicationThread thread({.chunk_bytes = 10});
  const auto gradients = take_over(thread, Traffic::kGradients);
  const auto tokens = take_over(thread, Traffic::kTokens);
  Work urgent = send(*tokens, 1);
  ledger_.wait_for(1);
  Work patient = send(*gradients, 100);
  EXPECT_THAT(ledger_.wait_for(2), ElementsAre("tokens1", "gradients10"));
  std::thread waiter([&patient] { patient.wait(); });
  EXPECT_THAT(ledger_.wait_for(5),
              ElementsAre("tokens1", "gradients10", "gradients10", "gradients10", "gradients10"));
  ledger_.may_end = true;
  waiter.join();
}

TEST_F(CommunicationThreads, ThrowWhatWentWrongToWhoeverWaitsAndGoOn) {
  CommunicationThread thread;
  const auto tokens = take_over(thread, Traffic::kTokens);
  ledger_.may_end = true;
  Work wrong = send(*tokens, 13);
  Work right = send(*tokens, 12);
  EXPECT_THAT([&wrong] { wrong.wait(); }, ThrowsMessage<CommError>(HasSubstr("thirteen")));
  right.wait();
}

TEST_F(CommunicationThreads, MakeProgressWhileNobodyWaits) {
  std::vector<float> values(1000, 1.0F);
  run_loopback(3, [&values](Communicator& world) {
    std::vector<float> mine = values;
    CommunicationThread thread({.chunk_bytes = 256});
    const auto communicator = thread.take_over(world.split(0, world.rank()), Traffic::kGradients);
    Work sum = communicator->all_reduce(view(std::span<float>(mine)), ReduceOp::kSum);
    while (!sum.done()) {  // nobody waits: the thread alone makes progress
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_THAT(mine, testing::Each(3.0F));
  });
}

TEST_F(CommunicationThreads, LetGoOfWhatIsUnfinishedWhenAnErrorIsOnItsWay) {
  const auto fail_in_the_middle = [this] {
    CommunicationThread thread;
    const auto tokens = take_over(thread, Traffic::kTokens);
    const Work never_done = send(*tokens, 1);
    ledger_.wait_for(1);
    throw FileError("the disk is full");
  };
  EXPECT_THAT(fail_in_the_middle, ThrowsMessage<FileError>(HasSubstr("the disk is full")));
}

TEST_F(CommunicationThreads, GiveTheTraceASpanForEachOperation) {
  Trace trace;
  trace.switch_on();
  {
    CommunicationThread thread({.trace = &trace});
    const auto tokens = take_over(thread, Traffic::kTokens);
    ledger_.may_end = true;
    send(*tokens, 1).wait();
    send(*tokens, 2).wait();
  }
  const std::vector<TraceSpan> spans = trace.take();
  ASSERT_THAT(spans, testing::SizeIs(2));
  EXPECT_EQ(spans[0].name, "tokens exchange 1");
  EXPECT_EQ(spans[1].name, "tokens exchange 2");
  EXPECT_EQ(spans[1].track, TraceTrack::kCommunication);
  EXPECT_LE(spans[0].start, spans[0].end);
}

}  // namespace
}  // namespace enodia
