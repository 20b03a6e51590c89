#include <cstring>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "collectives/reduce.h"
#include "tests/device_double/device_double.h"

namespace enodia {
namespace {

thread_local DoubleQueue* current_queue = nullptr;

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

DeviceMemory& memory() {
  return DeviceDouble::instance().memory;
}

}  // namespace

struct DoubleQueue::State {
  std::mutex mutex;
  std::vector<Copy> put_off;

  void catch_up() {
    const std::lock_guard lock(mutex);
    for (const auto& [to, from, bytes] : std::exchange(put_off, {})) {
      std::memcpy(memory().open(to), memory().open(from), bytes);
    }
  }

  void copy(void* to, const void* from, size_t bytes) {
    if (bytes == 0) {
      return;
    }
    auto& device = DeviceDouble::instance();
    device.copies_to_host += memory().is_here(from) && !memory().is_here(to) ? 1 : 0;
    device.copies_from_host += !memory().is_here(from) && memory().is_here(to) ? 1 : 0;
    catch_up();  // of what this one reads, or overwrites
    const std::lock_guard lock(mutex);
    std::memset(memory().open(to), 0xFF, bytes);
    put_off.push_back({to, from, bytes});
  }
};

struct DoubleQueueTable {
  using State = DoubleQueue::State;
  using Event = std::shared_ptr<State>;

  static DoubleQueue& queue_of(void* handle) { return *static_cast<DoubleQueue*>(handle); }
  static void* record(void* queue) { return new Event(queue_of(queue).state_); }
  static void wait(void*, void* event) { (*static_cast<Event*>(event))->catch_up(); }
  static bool done(void* event) {
    (*static_cast<Event*>(event))->catch_up();
    return true;
  }
  static void synchronize(void* event) { (*static_cast<Event*>(event))->catch_up(); }
  static void release(void* event) { delete static_cast<Event*>(event); }
  static void copy(void* queue, void* to, const void* from, size_t bytes) {
    queue_of(queue).state_->copy(to, from, bytes);
  }
  static void* alloc(void*, size_t bytes) { return memory().allocate(bytes); }
  static void free(void* queue, void* block) {
    queue_of(queue).catch_up();
    memory().free(block);
  }
  static void reduce(void* queue,
                     std::span<const std::byte* const> contributions,
                     std::byte* out,
                     int64_t count,
                     DType dtype,
                     ReduceOp op) {
    queue_of(queue).catch_up();
    std::vector<const std::byte*> open;
    for (const std::byte* contribution : contributions) {
      open.push_back(static_cast<const std::byte*>(memory().open(contribution)));
    }
    reduce_in_order(open, static_cast<std::byte*>(memory().open(out)), count, dtype, op);
  }

  static constexpr QueueTable kTable{.name = "device double",
                                     .record = record,
                                     .wait = wait,
                                     .done = done,
                                     .synchronize = synchronize,
                                     .release = release,
                                     .copy = copy,
                                     .alloc = alloc,
                                     .free = free,
                                     .reduce = reduce};
};

DoubleQueue::DoubleQueue()
    : state_(std::make_shared<State>()),
      before_(std::exchange(current_queue, this)) {}

DoubleQueue::~DoubleQueue() {
  catch_up();
  current_queue = before_;
}

Queue DoubleQueue::queue() {
  return Queue(DoubleQueueTable::kTable, this);
}

DoubleQueue* DoubleQueue::current() {
  return current_queue;
}

void DoubleQueue::catch_up() {
  state_->catch_up();
}

}  // namespace enodia
