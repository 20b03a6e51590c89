#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace enodia {

/// Numbers, from 1, the waits of a rank's queues for each other because of a communication: before
/// it, for what the caller's queue had to do, and after it. The one with number `ignored` is left
/// out.
class StreamWaits {
 public:
  explicit StreamWaits(int ignored) : ignored_(ignored) {}
  int count() const { return count_; }
  /// Whether to wait.
  bool is_heeded() { return ++count_ != ignored_; }

 private:
  int ignored_;
  int count_ = 0;
};

/// Runs what `inner` does with memory of the device double beside the caller's queue, as NCCL does,
/// each operation on a queue of its own: NCCL keeps those of a communicator in order, which nobody
/// should need. Operations on host memory, and those that move nothing here, are passed on.
std::unique_ptr<Communicator> make_streamed(std::unique_ptr<Communicator> inner,
                                            std::shared_ptr<StreamWaits> waits);

}  // namespace enodia
