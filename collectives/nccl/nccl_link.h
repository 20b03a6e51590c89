#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/nccl/cuda_device.h"
#include "collectives/nccl/nccl_enqueuer.h"
#include "collectives/nccl/nccl_table.h"
#include "collectives/queue_event.h"

namespace enodia {

/// Owns one ncclComm_t and the stream that its operations run on, for a communicator and the Works
/// it has handed out. Once something has failed, NCCL's communicator is aborted and all further
/// calls throw CommError. Table, device and enqueuer outlive it.
class NcclLink : public std::enable_shared_from_this<NcclLink> {
 public:
  /// Collective: makes the NCCL communicator of `ranks` ranks that `id` stands for. Throws
  /// CommError.
  NcclLink(const NcclTable& nccl,
           CudaDevice& device,
           NcclEnqueuer& enqueuer,
           const ncclUniqueId& id,
           int ranks,
           int rank);
  /// Waits for what was launched, then destroys the NCCL communicator; aborts it after a failure or
  /// while an exception unwinds, as the peers may never come.
  ~NcclLink();
  NcclLink(const NcclLink&) = delete;
  NcclLink& operator=(const NcclLink&) = delete;

  /// Collective: ncclCommSplit. Waits until nothing is under way, which NCCL asks for.
  std::shared_ptr<NcclLink> split(int color, int key);

  /// Queues what `body` launches on this link's stream, after `after` and in the enqueuer's order.
  Work launch(std::string_view operation,
              const Queue& after,
              std::vector<Buffer> buffers,
              const std::function<void()>& body);
  /// Counts an operation that has nothing to do here in the enqueuer's order.
  void pass(std::string_view operation);

  /// Throws CommError when the link has failed before, or NCCL says that it has now.
  void poll();
  /// Blocks the host until the event is done. Throws CommError when NCCL reports an error
  /// meanwhile.
  void wait_on_host(const QueueEvent& event);

  /// Host memory that lives as long as work queued on this link can use it; the next call may move
  /// it. Throws CommError when the link has failed.
  std::byte* staging(size_t bytes);

  const NcclTable& nccl() const { return nccl_; }
  CudaDevice& device() const { return stream_.device(); }
  ncclComm_t comm() const { return comm_; }
  Queue queue() { return stream_.queue(); }
  cudaStream_t stream() const { return stream_.stream(); }

 private:
  NcclLink(const NcclLink& parent, std::string label);
  void fail(const std::string& why);

  const NcclTable& nccl_;
  NcclEnqueuer& enqueuer_;
  std::string label_;  // "world", "world.0": the same on all ranks
  int splits_ = 0;
  CudaStream stream_;
  std::vector<std::byte> staging_;
  ncclComm_t comm_ = nullptr;
  std::mutex mutex_;     // guards the failure: Works may be asked by any thread
  std::string failure_;  // empty = usable
};

}  // namespace enodia
