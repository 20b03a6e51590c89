#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>

#include "collectives/communicator.h"

namespace enodia {

/// The one order in which the NCCL operations of a device are launched. NCCL can dead-lock when two
/// communicators' operations are launched in one order here and in another there; so all
/// communicators of a device share one enqueuer, and one thread per device launches: its program is
/// the order. Making, splitting and barriers are launches, too. Outlives the communicators.
class NcclEnqueuer {
 public:
  /// Runs `launch`. Throws UsageError when another thread has launched before, since the order of
  /// two threads is not the same on all ranks.
  void enqueue(std::string_view communicator,
               std::string_view operation,
               const std::function<void()>& launch);

  /// Operations so far, and a digest of their communicators and names in order.
  int64_t launches() const;
  uint64_t digest() const;

 private:
  mutable std::mutex mutex_;
  std::thread::id thread_;
  int64_t launches_ = 0;
  uint64_t digest_ = 14695981039346656037u;  // FNV-1a's offset basis
};

/// Collective over `host`, a communicator of the same ranks that is not NCCL's: throws CommError on
/// all ranks, with the first rank that differs from rank 0, unless all have launched the same
/// operations in the same order.
void check_launch_order(const NcclEnqueuer& enqueuer, Communicator& host);

}  // namespace enodia
