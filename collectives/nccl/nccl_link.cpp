#include "collectives/nccl/nccl_link.h"

#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "common/error.h"
#include "common/log.h"

namespace enodia {
namespace {

/// Calls return when they are done (the handshakes of start-up and split), not in the middle.
ncclConfig_t blocking_config() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 1;
  return config;
}

class NcclPending : public PendingOperation {
 public:
  NcclPending(std::shared_ptr<NcclLink> link, QueueEvent event)
      : link_(std::move(link)),
        event_(std::move(event)) {}

  void wait(const Queue& queue) override {
    link_->poll();
    if (&queue.table() == &cuda_queue_table()) {
      event_.wait(queue);
    } else {
      link_->wait_on_host(event_);
    }
  }

  bool done() override {
    link_->poll();
    return event_.done();
  }

 private:
  std::shared_ptr<NcclLink> link_;
  QueueEvent event_;
};

}  // namespace

NcclLink::NcclLink(const NcclTable& nccl,
                   CudaDevice& device,
                   NcclEnqueuer& enqueuer,
                   const ncclUniqueId& id,
                   int ranks,
                   int rank)
    : nccl_(nccl),
      enqueuer_(enqueuer),
      label_("world"),
      stream_(device) {
  ncclConfig_t config = blocking_config();
  enqueuer.enqueue(label_, "init", [&] {
    const CudaGuard guard(device);
    nccl.check(nccl.comm_init_rank_config(&comm_, ranks, id, rank, &config),
               "ncclCommInitRankConfig");
  });
}

NcclLink::NcclLink(const NcclLink& parent, std::string label)
    : nccl_(parent.nccl_),
      enqueuer_(parent.enqueuer_),
      label_(std::move(label)),
      stream_(parent.device()) {}

NcclLink::~NcclLink() {
  if (comm_ == nullptr) {
    return;  // aborted, or never made
  }
  try {
    const CudaGuard guard(device());
    if (std::uncaught_exceptions() > 0) {
      nccl_.check(nccl_.comm_abort(comm_), "ncclCommAbort");
      return;
    }
    wait_on_host(QueueEvent(queue()));
    nccl_.check(nccl_.comm_destroy(comm_), "ncclCommDestroy");
  } catch (const std::exception& error) {
    log_error("the end of the NCCL communicator " + label_ + " failed: " + error.what());
  }
}

std::shared_ptr<NcclLink> NcclLink::split(int color, int key) {
  poll();
  wait_on_host(QueueEvent(queue()));
  std::shared_ptr<NcclLink> part(new NcclLink(*this, label_ + "." + std::to_string(splits_++)));
  ncclConfig_t config = blocking_config();
  enqueuer_.enqueue(label_, "split", [&] {
    const CudaGuard guard(device());
    nccl_.check(nccl_.comm_split(comm_, color, key, &part->comm_, &config), "ncclCommSplit");
  });
  return part;
}

Work NcclLink::launch(std::string_view operation,
                      const Queue& after,
                      std::vector<Buffer> buffers,
                      const std::function<void()>& body) {
  poll();
  QueueEvent done;
  enqueuer_.enqueue(label_, operation, [&] {
    const CudaGuard guard(device());
    QueueEvent(after).wait(queue());
    try {
      body();
    } catch (const std::exception& error) {  // nobody knows what the peers have seen of it
      const std::lock_guard lock(mutex_);
      fail(error.what());
      throw;
    }
    done = QueueEvent(queue());
  });
  return Work(std::make_unique<NcclPending>(shared_from_this(), std::move(done)),
              std::move(buffers));
}

void NcclLink::pass(std::string_view operation) {
  poll();
  enqueuer_.enqueue(label_, operation, [] {});
}

void NcclLink::poll() {
  const std::lock_guard lock(mutex_);
  if (!failure_.empty()) {
    throw CommError("the NCCL communicator " + label_ + " has failed before: " + failure_);
  }
  ncclResult_t error = ncclSuccess;
  try {
    nccl_.check(nccl_.comm_get_async_error(comm_, &error), "ncclCommGetAsyncError");
    nccl_.check(error, "an operation of NCCL");
  } catch (const CommError& failure) {
    fail(failure.what());
    throw;
  }
}

// Under the lock.
void NcclLink::fail(const std::string& why) {
  failure_ = why;
  const ncclResult_t result = nccl_.comm_abort(std::exchange(comm_, nullptr));
  if (result != ncclSuccess) {
    log_error(std::string("ncclCommAbort failed: ") + nccl_.get_error_string(result));
  }
}

void NcclLink::wait_on_host(const QueueEvent& event) {
  // CUDA's own wait cannot be left when a peer is gone: NCCL's kernel would spin for ever.
  static constexpr int kSpins = 1000;
  for (int tries = 0; !event.done(); ++tries) {
    if (tries < kSpins) {
      std::this_thread::yield();
    } else {
      poll();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
}

std::byte* NcclLink::staging(size_t bytes) {
  poll();  // after a failure, work may still use the memory that would go
  if (staging_.size() < bytes) {
    staging_.resize(bytes);
  }
  return staging_.data();
}

}  // namespace enodia
