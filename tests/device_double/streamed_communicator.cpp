#include "tests/device_double/streamed_communicator.h"

#include <algorithm>
#include <utility>

#include "collectives/backend.h"
#include "collectives/queue_event.h"
#include "tests/device_double/device_double.h"

namespace enodia {
namespace {

bool is_on_device(std::span<const Message> messages) {
  return std::any_of(messages.begin(), messages.end(), [](const Message& message) {
    return message.buffer.device >= 0 && message.buffer.count > 0;
  });
}

class StreamedPending : public PendingOperation {
 public:
  StreamedPending(Work inner,
                  std::unique_ptr<DoubleQueue> stream,
                  std::shared_ptr<StreamWaits> waits)
      : stream_(std::move(stream)),
        inner_(std::move(inner)),
        waits_(std::move(waits)) {}
  void wait(const Queue& queue) override {
    inner_.wait(stream_->queue());
    if (waits_->is_heeded()) {
      QueueEvent(stream_->queue()).wait(queue);
    }
  }
  bool done() override { return inner_.done(); }

 private:
  std::unique_ptr<DoubleQueue> stream_;
  Work inner_;
  std::shared_ptr<StreamWaits> waits_;
};

class StreamedCommunicator : public Communicator {
 public:
  StreamedCommunicator(std::unique_ptr<Communicator> inner, std::shared_ptr<StreamWaits> waits)
      : inner_(std::move(inner)),
        waits_(std::move(waits)) {}

  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  std::span<const int> nodes() const override { return inner_->nodes(); }
  void barrier() override { inner_->barrier(); }

  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override {
    const auto start = [&](const Queue& queue) { return inner_->exchange(sends, receives, queue); };
    return is_on_device(sends) || is_on_device(receives)
               ? run(after, buffers_of(sends, receives), start)
               : start(after);
  }
  Work all_reduce(Buffer inout, ReduceOp op, const Queue& after) override {
    const auto start = [&](const Queue& queue) { return inner_->all_reduce(inout, op, queue); };
    return moves(inout) ? run(after, {inout}, start) : start(after);
  }
  Work broadcast(Buffer inout, int root, const Queue& after) override {
    const auto start = [&](const Queue& queue) { return inner_->broadcast(inout, root, queue); };
    return moves(inout) ? run(after, {inout}, start) : start(after);
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return make_streamed(inner_->split(color, key), waits_);
  }

 private:
  bool moves(const Buffer& inout) const {
    return inout.device >= 0 && inout.count > 0 && world_size() > 1;
  }

  template <typename Start>
  Work run(const Queue& after, std::vector<Buffer> buffers, const Start& start) {
    auto stream = std::make_unique<DoubleQueue>();
    if (waits_->is_heeded()) {
      QueueEvent(after).wait(stream->queue());
    }
    Work inner = start(stream->queue());
    return Work(std::make_unique<StreamedPending>(std::move(inner), std::move(stream), waits_),
                std::move(buffers));
  }

  std::unique_ptr<Communicator> inner_;
  std::shared_ptr<StreamWaits> waits_;
};

}  // namespace

std::unique_ptr<Communicator> make_streamed(std::unique_ptr<Communicator> inner,
                                            std::shared_ptr<StreamWaits> waits) {
  return std::make_unique<StreamedCommunicator>(std::move(inner), std::move(waits));
}

}  // namespace enodia
