#include "tests/collectives/staged_communicator.h"

#include <utility>
#include <vector>

#include "collectives/queue_event.h"

namespace enodia {
namespace {

struct StagedBuffer {
  Buffer host;
  Buffer device;
};

class StagedPending : public PendingOperation {
 public:
  StagedPending(Work inner, Queue queue, std::vector<StagedBuffer> results)
      : inner_(std::move(inner)),
        queue_(queue),
        results_(std::move(results)) {}

  void wait(const Queue&) override {
    inner_.wait(queue_);
    for (const auto& [host, device] : std::exchange(results_, {})) {
      queue_.copy(host.data, device.data, static_cast<size_t>(host.bytes()));
    }
    QueueEvent(queue_).synchronize();
  }

  bool done() override {
    if (!inner_.done()) {
      return false;
    }
    wait(queue_);  // a work that is done has its result
    return true;
  }

 private:
  Work inner_;
  Queue queue_;
  std::vector<StagedBuffer> results_;
};

class StagedCommunicator : public Communicator {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> inner, Queue queue, int device)
      : inner_(std::move(inner)),
        queue_(queue),
        device_(device) {}

  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  std::span<const int> nodes() const override { return inner_->nodes(); }
  void barrier() override { inner_->barrier(); }

  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue&) override {
    std::vector<Message> device_sends;
    std::vector<Message> device_receives;
    std::vector<StagedBuffer> results;
    std::vector<Buffer> keep;
    for (const Message& message : sends) {
      device_sends.push_back({message.peer, stage(message.buffer, true), message.part});
      keep.push_back(message.buffer);
    }
    for (const Message& message : receives) {
      device_receives.push_back({message.peer, stage(message.buffer, false), message.part});
      results.push_back({message.buffer, device_receives.back().buffer});
    }
    return pending([&] { return inner_->exchange(device_sends, device_receives, queue_); },
                   std::move(results),
                   keep);
  }

  Work all_reduce(Buffer inout, ReduceOp op, const Queue&) override {
    const Buffer device = stage(inout, true);
    return pending([&] { return inner_->all_reduce(device, op, queue_); }, {{inout, device}}, {});
  }

  Work broadcast(Buffer inout, int root, const Queue&) override {
    const Buffer device = stage(inout, root == rank());
    return pending([&] { return inner_->broadcast(device, root, queue_); }, {{inout, device}}, {});
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return make_staged(inner_->split(color, key), queue_, device_);
  }

 private:
  /// Null data and empty buffers stay what they are: the inner communicator judges them.
  Buffer stage(const Buffer& host, bool with_content) {
    Buffer device = host;
    device.device = device_;
    if (host.data != nullptr && host.count > 0) {
      const auto bytes = static_cast<size_t>(host.bytes());
      const std::shared_ptr<void> memory = allocate(queue_, bytes);
      device.data = memory.get();
      device.keep = memory;
      if (with_content) {
        queue_.copy(device.data, host.data, bytes);
      }
    }
    return device;
  }

  template <typename Start>
  Work pending(const Start& start, std::vector<StagedBuffer> results, std::vector<Buffer> keep) {
    try {
      return Work(std::make_unique<StagedPending>(start(), queue_, std::move(results)),
                  std::move(keep));
    } catch (...) {
      QueueEvent(queue_).synchronize();  // copies that read host memory are under way
      throw;
    }
  }

  std::unique_ptr<Communicator> inner_;
  Queue queue_;
  int device_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged(std::unique_ptr<Communicator> inner,
                                          Queue queue,
                                          int device) {
  return std::make_unique<StagedCommunicator>(std::move(inner), queue, device);
}

}  // namespace enodia
