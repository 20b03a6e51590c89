#pragma once

#include <memory>
#include <vector>

#include "collectives/nccl/nccl_link.h"

namespace enodia {

/// Device memory only; a host buffer is a UsageError. Operations run on a stream of the
/// communicator's own. A Work that a CudaStream's queue waits for does not block the host, and
/// gives its buffers back at once: free or reuse their memory in order of that queue. A Work that
/// the host waits for is done then. `barrier` also waits for everything launched on this
/// communicator before.
///
/// What differs from other backends: sums have NCCL's order, the same on all ranks and runs with
/// the same topology, but not the bits of mpi and loopback; sums of bfloat16 are rounded after each
/// addition (give float32 to sum in float32). Minimum and maximum of floating-point numbers go
/// through the host, all ranks' values on each, because NCCL's lose NaN: for few numbers only.
///
/// Counts or dtypes that differ between sender and receiver are not noticed. Errors that NCCL
/// reports later throw CommError from the next call, wait or done.
class NcclCommunicator : public Communicator {
 public:
  /// `host` has the same ranks in the same order.
  NcclCommunicator(std::shared_ptr<NcclLink> link, std::unique_ptr<Communicator> host);

  int rank() const override { return host_->rank(); }
  int world_size() const override { return host_->world_size(); }
  std::span<const int> nodes() const override { return host_->nodes(); }
  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override;
  Work all_reduce(Buffer inout, ReduceOp op, const Queue& after) override;
  Work broadcast(Buffer inout, int root, const Queue& after) override;
  void barrier() override;
  std::unique_ptr<Communicator> split(int color, int key) override;

 private:
  using OwnMessages = std::vector<std::pair<Buffer, Buffer>>;

  void check_memory(const Buffer& buffer) const;
  void queue_messages(const OwnMessages& own,
                      std::span<const Message> sends,
                      std::span<const Message> receives);
  void queue_all_reduce(const Buffer& inout, ReduceOp op);
  Work all_reduce_through_host(Buffer inout, ReduceOp op, const Queue& after);

  std::shared_ptr<NcclLink> link_;
  std::unique_ptr<Communicator> host_;
  std::shared_ptr<void> token_;  // one int32 on the device, for barriers
};

/// Collective over `host`, whose ranks each bring a device of their own: a NCCL communicator of the
/// same ranks. Table, device and enqueuer outlive it and all that is split from it. Make at most
/// three per device, at start-up. Throws CommError.
std::unique_ptr<Communicator> make_nccl_communicator(const NcclTable& nccl,
                                                     CudaDevice& device,
                                                     NcclEnqueuer& enqueuer,
                                                     std::unique_ptr<Communicator> host);

}  // namespace enodia
