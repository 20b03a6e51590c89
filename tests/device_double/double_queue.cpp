#include <cstring>
#include <utility>

#include "collectives/reduce.h"
#include "tests/device_double/device_double.h"

namespace enodia {
namespace {

thread_local DoubleQueue* current_queue = nullptr;

DeviceDouble& device() {
  return DeviceDouble::instance();
}

}  // namespace

struct DoubleQueue::State {
  struct Copy {
    void* to;
    const void* from;
    size_t bytes;
  };

  std::mutex mutex;  // guards the copies
  std::vector<Copy> put_off;
  int actor = 0;
  Clock clock;       // of the operation that began last
  std::string what;  // it is

  void catch_up() {
    const std::lock_guard lock(mutex);
    for (const auto& [to, from, bytes] : std::exchange(put_off, {})) {
      std::memcpy(device().memory.open(to), device().memory.open(from), bytes);
    }
  }

  void put_off_copy(const Copy& copy) {
    const std::lock_guard lock(mutex);
    std::memset(device().memory.open(copy.to), 0xFF, copy.bytes);
    put_off.push_back(copy);
  }
};

DoubleQueue::DoubleQueue() : state_(std::make_shared<State>()) {
  const std::lock_guard lock(device().mutex_);
  state_->actor = device().actors_++;
  state_->clock.tick(state_->actor);
}

DoubleQueue::~DoubleQueue() {
  state_->catch_up();
}

void DoubleQueue::begin(const std::string& what) {
  state_->catch_up();
  const std::lock_guard lock(device().mutex_);
  state_->clock.tick(state_->actor);
  state_->what = what;
}

void DoubleQueue::uses(const void* at, size_t bytes, bool writes) {
  if (bytes == 0 || !device().memory.is_here(at)) {
    return;
  }
  const auto block = device().memory.block_of(at);
  const std::lock_guard lock(device().mutex_);
  if (!block) {
    device().races_.push_back(state_->what + " uses memory that was given back");
    return;
  }
  const AccessChecker::Access access{
      {at, bytes}, writes, state_->actor, state_->clock.number(state_->actor), state_->what};
  const auto races = device().checker_.note(block->number, access, state_->clock, {});
  device().races_.insert(device().races_.end(), races.begin(), races.end());
}

void DoubleQueue::gives_back(void* at) {
  if (const auto block = device().memory.block_of(at)) {
    uses(block->begin, block->bytes, /*writes=*/true);
    const std::lock_guard lock(device().mutex_);
    device().checker_.forget(block->number);
  }
  device().memory.free(at);
}

void DoubleQueue::synchronize() {
  state_->catch_up();
}

struct DoubleQueueTable {
  struct Event {
    std::shared_ptr<DoubleQueue::State> of;
    Clock clock;
  };

  static DoubleQueue& queue_of(void* handle) { return *static_cast<DoubleQueue*>(handle); }
  static Event& event_of(void* event) { return *static_cast<Event*>(event); }

  static void* record(void* queue) {
    const std::lock_guard lock(device().mutex_);
    return new Event{queue_of(queue).state_, queue_of(queue).state_->clock};
  }
  static void wait(void* queue, void* event) {
    event_of(event).of->catch_up();
    const std::lock_guard lock(device().mutex_);
    queue_of(queue).state_->clock.join(event_of(event).clock);
  }
  static void synchronize(void* event) { event_of(event).of->catch_up(); }
  static bool done(void* event) {
    synchronize(event);
    return true;
  }
  static void release(void* event) { delete static_cast<Event*>(event); }

  static void copy(void* handle, void* to, const void* from, size_t bytes) {
    if (bytes == 0) {
      return;
    }
    DeviceDouble::count_copy(device().memory.is_here(from), device().memory.is_here(to));
    DoubleQueue& queue = queue_of(handle);
    queue.begin("a copy");
    queue.uses(from, bytes, /*writes=*/false);
    queue.uses(to, bytes, /*writes=*/true);
    queue.state_->put_off_copy({to, from, bytes});
  }
  static void* alloc(void*, size_t bytes) { return device().memory.allocate(bytes); }
  static void free(void* handle, void* block) {
    queue_of(handle).begin("giving back scratch memory");
    queue_of(handle).gives_back(block);
  }
  static void reduce(void* handle,
                     std::span<const std::byte* const> contributions,
                     std::byte* out,
                     int64_t count,
                     DType dtype,
                     ReduceOp op) {
    DoubleQueue& queue = queue_of(handle);
    const size_t bytes = static_cast<size_t>(count) * size_of(dtype);
    queue.begin("a reduction");
    std::vector<const std::byte*> open;
    for (const std::byte* contribution : contributions) {
      queue.uses(contribution, bytes, /*writes=*/false);
      open.push_back(static_cast<const std::byte*>(device().memory.open(contribution)));
    }
    queue.uses(out, bytes, /*writes=*/true);
    reduce_in_order(open, static_cast<std::byte*>(device().memory.open(out)), count, dtype, op);
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

Queue DoubleQueue::queue() {
  return Queue(DoubleQueueTable::kTable, this);
}

CurrentQueue::CurrentQueue(DoubleQueue& queue) : before_(std::exchange(current_queue, &queue)) {}

CurrentQueue::~CurrentQueue() {
  current_queue = before_;
}

DoubleQueue* CurrentQueue::get() {
  return current_queue;
}

}  // namespace enodia
