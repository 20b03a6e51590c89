#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <c10/core/Device.h>

#include "collectives/queue.h"
#include "tests/device_double/access_checker.h"
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

  DeviceMemory memory;

  /// Copies between host and device that the calling thread has asked for. Those of no elements are
  /// none.
  struct Copies {
    int64_t to_host = 0;
    int64_t from_host = 0;
  };
  static const Copies& copies();
  static void count_copy(bool from_device, bool to_device);

  /// Uses of the same memory by two queues without an order between them, since the last call.
  /// While no thread but the caller uses the device: all that was done is behind what follows.
  std::vector<std::string> take_races();

 private:
  friend class DoubleQueue;
  friend struct DoubleQueueTable;
  std::mutex mutex_;  // guards what follows, and the clocks of queues
  int actors_ = 0;
  AccessChecker checker_;
  std::vector<std::string> races_;
};

/// A queue of the device, of one rank. Its kernels run at once; its copies are put off, their
/// targets poisoned, until an operation of the same queue or somebody who waits for an event needs
/// them done. Whatever it does with memory of the device must be ordered by events after what other
/// queues have done with it; that the host has waited meanwhile is luck and does not count.
class DoubleQueue {
 public:
  DoubleQueue();
  ~DoubleQueue();
  DoubleQueue(const DoubleQueue&) = delete;
  DoubleQueue& operator=(const DoubleQueue&) = delete;

  Queue queue();

  /// Begins an operation called `what`: does what has been put off.
  void begin(const std::string& what);
  /// The operation uses this memory of the device. It may be a part of a block.
  void uses(const void* memory, size_t bytes, bool writes);
  /// The block is given back by the operation.
  void gives_back(void* memory);
  /// The host waits for all that the queue has to do.
  void synchronize();

 private:
  friend struct DoubleQueueTable;
  struct State;
  std::shared_ptr<State> state_;  // shared with events
};

/// Makes a queue the one on which LibTorch's kernels run, for the calling thread.
class CurrentQueue {
 public:
  explicit CurrentQueue(DoubleQueue& queue);
  ~CurrentQueue();
  CurrentQueue(const CurrentQueue&) = delete;
  CurrentQueue& operator=(const CurrentQueue&) = delete;
  /// Null = none.
  static DoubleQueue* get();

 private:
  DoubleQueue* before_;
};

}  // namespace enodia
