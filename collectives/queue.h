#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "collectives/reduce_op.h"
#include "common/dtype.h"

namespace enodia {

/// What a device's queue (a CUDA stream, say) can do. One constant table for each kind of device;
/// collectives and the expert store know no more of a device than this.
struct QueueTable {
  const char* name;
  /// An event after everything queued so far; given back with `release`. Null = already done.
  void* (*record)(void* queue);
  /// What is queued later starts after the event.
  void (*wait)(void* queue, void* event);
  bool (*done)(void* event);
  /// The host blocks until the event is done.
  void (*synchronize)(void* event);
  void (*release)(void* event);
  void (*copy)(void* queue, void* to, const void* from, size_t bytes);
  void* (*alloc)(void* queue, size_t bytes);
  void (*free)(void* queue, void* memory);
  /// reduce_in_order (reduce.h) on memory of the device.
  void (*reduce)(void* queue,
                 std::span<const std::byte* const> contributions,
                 std::byte* out,
                 int64_t count,
                 DType dtype,
                 ReduceOp op);
};

/// A handle on an ordered queue of device work: after what an operation starts, and who may see
/// its result. The default is the host, where everything queued is done at once.
class Queue {
 public:
  Queue();
  Queue(const QueueTable& table, void* handle) : table_(&table), handle_(handle) {}
  const QueueTable& table() const { return *table_; }
  void* handle() const { return handle_; }
  void copy(void* to, const void* from, size_t bytes) const {
    table_->copy(handle_, to, from, bytes);
  }
  void reduce(std::span<const std::byte* const> contributions,
              std::byte* out,
              int64_t count,
              DType dtype,
              ReduceOp op) const {
    table_->reduce(handle_, contributions, out, count, dtype, op);
  }

 private:
  const QueueTable* table_;
  void* handle_ = nullptr;
};

/// The host's table: events are null and always done, copies are memcpy.
const QueueTable& host_queue_table();

}  // namespace enodia
