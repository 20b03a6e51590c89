#include "collectives/decorators/recording.h"

#include <utility>

#include "common/check.h"

namespace enodia {

TrafficCounts TrafficCounts::operator-(const TrafficCounts& before) const {
  return {operations - before.operations,
          bytes_sent - before.bytes_sent,
          bytes_received - before.bytes_received,
          exposed_ns - before.exposed_ns};
}

CommunicationCounts CommunicationCounts::operator-(const CommunicationCounts& before) const {
  CommunicationCounts difference;
  for (size_t i = 0; i < traffic.size(); ++i) {
    difference.traffic[i] = traffic[i] - before.traffic[i];
  }
  return difference;
}

int64_t CommunicationCounts::exposed_ns() const {
  int64_t sum = 0;
  for (const TrafficCounts& counts : traffic) {
    sum += counts.exposed_ns;
  }
  return sum;
}

/// A stretch of time that the calling thread spends on an operation, from construction to
/// destruction.
class Recorder::Wait {
 public:
  Wait(Recorder& recorder, const Operation& operation)
      : recorder_(recorder),
        operation_(operation) {
    if (recorder_.board_ != nullptr) {
      recorder_.board_->wait_for(operation_);
    }
  }
  ~Wait() {
    const auto end = TraceSpan::Clock::now();
    recorder_.of(operation_.traffic).exposed_ns +=
        std::chrono::duration_cast<std::chrono::nanoseconds>(end - start_).count();
    if (recorder_.board_ != nullptr) {
      recorder_.board_->go_on();
    }
    if (recorder_.trace_ != nullptr && recorder_.trace_->is_on()) {
      recorder_.trace_->add(
          {TraceTrack::kWaiting, operation_.name(), start_, end, operation_.bytes});
    }
  }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;

 private:
  Recorder& recorder_;
  const Operation& operation_;
  TraceSpan::Clock::time_point start_ = TraceSpan::Clock::now();
};

class RecordedOperation : public PendingOperation {
 public:
  RecordedOperation(Recorder& recorder, const Operation& operation, Work inner)
      : recorder_(recorder),
        operation_(operation),
        inner_(std::move(inner)) {}

  void wait(const Queue& queue) override {
    {
      const Recorder::Wait waiting(recorder_, operation_);
      inner_.wait(queue);
    }
    if (recorder_.board_ != nullptr) {
      recorder_.board_->finish(operation_);
    }
  }
  bool done() override { return inner_.done(); }

 private:
  Recorder& recorder_;
  const Operation operation_;
  Work inner_;
};

class RecordedCommunicator : public Communicator {
 public:
  RecordedCommunicator(Recorder& recorder, std::unique_ptr<Communicator> inner, Traffic traffic)
      : recorder_(recorder),
        inner_(std::move(inner)),
        traffic_(traffic) {}

  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  std::span<const int> nodes() const override { return inner_->nodes(); }

  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override {
    return run(OperationKind::kExchange, bytes_of(sends), bytes_of(receives), [&] {
      return inner_->exchange(sends, receives, after);
    });
  }

  Work exchange_in_rounds(std::vector<ExchangeRound> rounds, const Queue& after) override {
    int64_t sent = 0;
    int64_t received = 0;
    for (const ExchangeRound& round : rounds) {
      sent += bytes_of(round.sends);
      received += bytes_of(round.receives);
    }
    return run(OperationKind::kExchange, sent, received, [&] {
      return inner_->exchange_in_rounds(std::move(rounds), after);
    });
  }

  Work all_reduce(Buffer inout, ReduceOp op, const Queue& after) override {
    const int64_t bytes = world_size() > 1 ? inout.bytes() : 0;
    return run(OperationKind::kAllReduce, bytes, bytes, [&] {
      return inner_->all_reduce(std::move(inout), op, after);
    });
  }

  Work broadcast(Buffer inout, int root, const Queue& after) override {
    const int64_t bytes = world_size() > 1 ? inout.bytes() : 0;
    const bool sends = root == rank();
    return run(OperationKind::kBroadcast, sends ? bytes : 0, sends ? 0 : bytes, [&] {
      return inner_->broadcast(std::move(inout), root, after);
    });
  }

  void barrier() override {
    run(OperationKind::kBarrier, 0, 0, [&] {
      inner_->barrier();
      return Work();
    }).wait();
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return recorder_.record(inner_->split(color, key), traffic_);
  }

 private:
  int64_t bytes_of(std::span<const Message> messages) const {
    int64_t bytes = 0;
    for (const Message& message : messages) {
      bytes += message.peer != rank() ? message.buffer.bytes() : 0;
    }
    return bytes;
  }

  template <typename Start>
  Work run(OperationKind kind, int64_t sent, int64_t received, const Start& start) {
    if (recorder_.leaves_out(traffic_)) {
      return {};
    }
    const Operation operation{traffic_, kind, ++sequence_, sent + received};
    TrafficCounts& counts = recorder_.of(traffic_);
    ++counts.operations;
    counts.bytes_sent += sent;
    counts.bytes_received += received;
    if (recorder_.board_ != nullptr) {
      recorder_.board_->start(operation);
    }
    const Recorder::Wait waiting(recorder_, operation);
    return Work(std::make_unique<RecordedOperation>(recorder_, operation, start()));
  }

  Recorder& recorder_;
  std::unique_ptr<Communicator> inner_;
  Traffic traffic_;
  int64_t sequence_ = 0;
};

std::unique_ptr<Communicator> Recorder::record(std::unique_ptr<Communicator> inner,
                                               Traffic traffic) {
  ENODIA_CHECK(inner != nullptr, "there is no communicator to record");
  return std::make_unique<RecordedCommunicator>(*this, std::move(inner), traffic);
}

bool Recorder::leaves_out(Traffic traffic) {
  return std::exchange(left_out_[static_cast<size_t>(traffic)], false);
}

}  // namespace enodia
