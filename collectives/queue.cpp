#include "collectives/queue.h"

#include <cstring>
#include <new>

#include "collectives/reduce.h"

namespace enodia {

const QueueTable& host_queue_table() {
  static constexpr std::align_val_t kAlignment{256};
  static const QueueTable table{
      .name = "host",
      .record = [](void*) -> void* { return nullptr; },
      .wait = [](void*, void*) {},
      .done = [](void*) { return true; },
      .synchronize = [](void*) {},
      .release = [](void*) {},
      .copy =
          [](void*, void* to, const void* from, size_t bytes) {
            if (bytes > 0) {
              std::memcpy(to, from, bytes);
            }
          },
      .alloc = [](void*, size_t bytes) { return ::operator new(bytes, kAlignment); },
      .free = [](void*, void* memory) { ::operator delete(memory, kAlignment); },
      .reduce = [](void*,
                   std::span<const std::byte* const> contributions,
                   std::byte* out,
                   int64_t count,
                   DType dtype,
                   ReduceOp op) { reduce_in_order(contributions, out, count, dtype, op); },
  };
  return table;
}

Queue::Queue() : table_(&host_queue_table()) {}

}  // namespace enodia
