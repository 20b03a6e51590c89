#include "collectives/progress/threaded_communicator.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "collectives/backend.h"
#include "collectives/fixed_order_reduction.h"
#include "collectives/pipelined.h"
#include "common/check.h"
#include "common/log.h"

namespace enodia {

/// The caller's end of an operation.
class ThreadedOperation : public PendingOperation {
 public:
  ThreadedOperation(CommunicationThread& thread, std::shared_ptr<QueuedOperation> operation)
      : thread_(thread),
        operation_(std::move(operation)) {}
  void wait(const Queue&) override { thread_.wait(*operation_); }
  bool done() override { return operation_->done(); }

 private:
  CommunicationThread& thread_;
  std::shared_ptr<QueuedOperation> operation_;
};

namespace {

int64_t elements_of(int64_t chunk_bytes, const Buffer& buffer) {
  return std::max<int64_t>(1, chunk_bytes / static_cast<int64_t>(size_of(buffer.dtype)));
}

/// The chunks of a buffer; one for an empty buffer.
std::vector<Buffer> chunks_of(const Buffer& buffer, int64_t chunk_bytes) {
  const int64_t length = elements_of(chunk_bytes, buffer);
  std::vector<Buffer> chunks;
  for (int64_t first = 0; first == 0 || first < buffer.count; first += length) {
    chunks.push_back(buffer.slice(first, std::min(length, buffer.count - first)));
  }
  return chunks;
}

/// rounds[i] holds the i-th chunk of every message that has so many: sender and receiver cut a
/// message alike, so a message's chunks meet in the same order on both sides.
std::vector<std::vector<Message>> rounds_of(std::span<const Message> messages,
                                            int64_t chunk_bytes) {
  std::vector<std::vector<Message>> rounds;
  for (const auto& [peer, buffer, part] : messages) {
    const std::vector<Buffer> chunks = chunks_of(buffer, chunk_bytes);
    rounds.resize(std::max(rounds.size(), chunks.size()));
    for (size_t i = 0; i < chunks.size(); ++i) {
      rounds[i].push_back({peer, chunks[i], static_cast<int>(i)});
    }
  }
  return rounds;
}

}  // namespace

ThreadedCommunicator::ThreadedCommunicator(CommunicationThread& thread,
                                           std::unique_ptr<Communicator> inner,
                                           Traffic traffic)
    : thread_(thread),
      inner_(std::move(inner)),
      lane_(thread.add_lane(traffic)) {}

ThreadedCommunicator::~ThreadedCommunicator() {
  try {
    thread_.remove_lane(lane_);
    thread_.run_on_thread([this] { inner_.reset(); });
  } catch (const std::exception& error) {
    log_error(std::string("a communicator could not be given back: ") + error.what());
  }
}

Work ThreadedCommunicator::submit(std::vector<Stage> stages,
                                  const char* name,
                                  std::vector<Buffer> buffers) {
  auto operation = std::make_shared<QueuedOperation>(std::move(stages), name, ++sequence_);
  thread_.submit(lane_, operation);
  return Work(std::make_unique<ThreadedOperation>(thread_, std::move(operation)),
              std::move(buffers));
}

Work ThreadedCommunicator::exchange(std::span<const Message> sends,
                                    std::span<const Message> receives,
                                    const Queue& after) {
  check_messages(sends, receives, world_size());
  synchronize(after);
  const int64_t chunk_bytes = thread_.options_.chunk_bytes;
  auto send_rounds = rounds_of(sends, chunk_bytes);
  auto receive_rounds = rounds_of(receives, chunk_bytes);
  // At least one: ranks without messages take part, so that operations keep their numbers.
  const size_t count = std::max({send_rounds.size(), receive_rounds.size(), size_t{1}});
  send_rounds.resize(count);
  receive_rounds.resize(count);
  std::vector<Stage> stages;
  for (size_t i = 0; i < count; ++i) {
    stages.push_back({[this, out = std::move(send_rounds[i]), in = std::move(receive_rounds[i])] {
      return inner_->exchange(out, in);
    }});
  }
  return submit(std::move(stages), "exchange", buffers_of(sends, receives));
}

Work ThreadedCommunicator::exchange_in_rounds(std::vector<ExchangeRound> rounds,
                                              const Queue& after) {
  std::vector<Stage> stages;
  std::vector<Buffer> buffers;
  for (auto& [sends, receives, finish, before] : rounds) {
    check_messages(sends, receives, world_size());
    const std::vector<Buffer> used = buffers_of(sends, receives);
    buffers.insert(buffers.end(), used.begin(), used.end());
    stages.push_back({[this, out = std::move(sends), in = std::move(receives)] {
                        return inner_->exchange(out, in);
                      },
                      std::move(finish),
                      before});
  }
  synchronize(after);
  return submit(std::move(stages), "exchange", std::move(buffers));
}

/// Reductions of chunks, each a gather, a sum and rounds that share it. The gather of the next
/// chunk goes out before the first of those, and so on, so that the wire is busy while this rank
/// sums.
Work ThreadedCommunicator::all_reduce(Buffer inout, ReduceOp op, const Queue& after) {
  const Message message{rank(), inout};
  check_messages({&message, 1}, {}, world_size());
  synchronize(after);
  if (world_size() == 1) {
    return submit(
        {{[this] { return inner_->exchange({}, {}); }}}, "all_reduce", {std::move(inout)});
  }
  std::vector<std::vector<Stage>> chunks;
  for (const Buffer& chunk : chunks_of(inout, thread_.options_.chunk_bytes)) {
    const auto reduction = std::make_shared<FixedOrderReduction>(*inner_, chunk, op);
    chunks.push_back({{[reduction] { return reduction->gather(Queue()); },
                       [reduction] { reduction->reduce(); }}});
    for (ExchangeRound& round : reduction->share()) {
      chunks.back().push_back({[this, round = std::move(round)] {
        return inner_->exchange(round.sends, round.receives);
      }});
    }
  }
  return submit(pipelined(std::move(chunks)), "all_reduce", {std::move(inout)});
}

Work ThreadedCommunicator::broadcast(Buffer inout, int root, const Queue& after) {
  const Message message{root, inout};
  check_messages({&message, 1}, {}, world_size());
  synchronize(after);
  std::vector<Stage> stages;
  for (const Buffer& chunk : chunks_of(inout, thread_.options_.chunk_bytes)) {
    stages.push_back({[this, chunk, root] { return inner_->broadcast(chunk, root); }});
  }
  return submit(std::move(stages), "broadcast", {std::move(inout)});
}

/// A reduction: the inner barrier would stop the thread, and with it operations that another rank
/// needs before it comes to the barrier.
void ThreadedCommunicator::barrier() {
  int32_t nothing = 0;
  all_reduce(view(std::span<int32_t>(&nothing, 1)), ReduceOp::kSum, Queue()).wait();
}

std::unique_ptr<Communicator> ThreadedCommunicator::split(int color, int key) {
  std::unique_ptr<Communicator> made;
  thread_.run_on_thread([&] { made = inner_->split(color, key); });
  return thread_.take_over(std::move(made), lane_.traffic());
}

}  // namespace enodia
