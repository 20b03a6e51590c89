#pragma once

#include <atomic>
#include <cstdint>

#include <c10/core/Device.h>

#include "collectives/queue.h"
#include "tests/device_double/device_memory.h"

namespace enodia {

/// A device under LibTorch's key for devices of others (PrivateUse1). Its kernels are the CPU's, on
/// the open side of a memory that the host cannot touch: whoever reads a tensor of the device as if
/// it were the host's, or mixes both in one operation, does not get away with it. There is one for
/// a process; it lives for ever. Each rank is a thread.
class DeviceDouble {
 public:
  static DeviceDouble& instance();
  static c10::Device device() { return {c10::DeviceType::PrivateUse1, 0}; }

  /// Of all threads since the program began. Those of no elements are none.
  std::atomic<int64_t> copies_to_host = 0;
  std::atomic<int64_t> copies_from_host = 0;

  DeviceMemory memory;
};

/// A queue of the device. Kernels run at once, in order of the queue that is the calling thread's
/// current one; copies are put off, their targets poisoned, until an operation of the same queue or
/// somebody who waits for an event needs them done.
class DoubleQueue {
 public:
  /// Becomes the thread's current queue, until its end.
  DoubleQueue();
  ~DoubleQueue();
  DoubleQueue(const DoubleQueue&) = delete;
  DoubleQueue& operator=(const DoubleQueue&) = delete;

  Queue queue();
  /// Of the calling thread; null = none.
  static DoubleQueue* current();
  /// Does what has been put off.
  void catch_up();

 private:
  friend struct DoubleQueueTable;
  struct State;
  std::shared_ptr<State> state_;  // shared with events
  DoubleQueue* before_;
};

}  // namespace enodia
