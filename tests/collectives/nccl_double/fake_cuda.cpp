#include "tests/collectives/nccl_double/fake_cuda.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace enodia {

int& fake_current_device() {
  thread_local int device = 0;
  return device;
}

FakeCuda::~FakeCuda() {
  for (const auto& stream : streams_) {
    const std::lock_guard lock(mutex);
    stream->ending = true;
  }
  changed.notify_all();
  streams_.clear();  // joins the threads, which run what is queued
  std::for_each(events_.begin(), events_.end(), [](FakeEvent* event) { delete event; });
}

/// The calling thread as one that governs memory and has seen some of the streams' work.
int FakeCuda::host() {
  if (options_.one_host) {
    return 0;
  }
  return hosts_.try_emplace(std::this_thread::get_id(), static_cast<int>(hosts_.size()))
      .first->second;
}

void FakeCuda::error(const std::string& text) {
  errors_.push_back(text);
}

// ---- streams and events ----

FakeStream* FakeCuda::make_stream(int device) {
  const std::lock_guard lock(mutex);
  auto owner = std::make_unique<FakeStream>();
  FakeStream* stream = owner.get();
  stream->device = device;
  stream->actor = actors_++;
  const auto before = std::count_if(
      streams_.begin(), streams_.end(), [&](const auto& other) { return other->device == device; });
  stream->key = RandomKey(options_.seed)
                    .with(static_cast<uint64_t>(device))
                    .with(static_cast<uint64_t>(before));
  streams_.push_back(std::move(owner));
  stream->thread = std::jthread([this, stream] { run_stream(stream); });
  return stream;
}

// The stream stays in the list, since what is queued on it runs to its end.
void FakeCuda::end_stream(FakeStream* stream) {
  const std::lock_guard lock(mutex);
  if (stream->ending) {
    error("a stream was destroyed twice");
  }
  stream->ending = true;
  changed.notify_all();
}

FakeEvent* FakeCuda::make_event(int device) {
  const std::lock_guard lock(mutex);
  return *events_.insert(new FakeEvent{device, nullptr}).first;
}

void FakeCuda::end_event(FakeEvent* event) {
  const std::lock_guard lock(mutex);
  if (events_.erase(event) == 0) {
    return error("an event was destroyed twice");
  }
  delete event;
}

void FakeCuda::record(FakeEvent* event, FakeStream* stream) {
  const std::lock_guard lock(mutex);
  if (event->device != stream->device) {
    error("an event of one device was recorded on a stream of another");
  }
  auto state = std::make_shared<FakeEventState>();
  event->state = state;
  queue(stream, {"an event", {}, {}, [state](auto&) { state->done = true; }});
  state->clock = stream->clock;
}

void FakeCuda::wait(FakeStream* stream, const FakeEvent* event) {
  const std::lock_guard lock(mutex);
  if (is_ignored(stream->device, ++waits_[stream->device]) || event->state == nullptr) {
    return;
  }
  const std::shared_ptr<FakeEventState> state = event->state;
  queue(stream, {"a wait", {}, {}, [this, state](auto& held) {
                   changed.wait(held, [&] { return state->done; });
                 }});
  stream->clock.join(state->clock);
}

/// A loop of queries is one wait; the first query counts.
bool FakeCuda::query(FakeEvent* event) {
  const std::lock_guard lock(mutex);
  FakeEventState* state = event->state.get();
  if (state == nullptr) {
    return true;
  }
  if (state->wait_number == 0) {
    state->wait_number = ++waits_[event->device];
  }
  if (is_ignored(event->device, state->wait_number)) {
    return true;
  }
  if (state->done) {
    observe(state->clock);
  }
  return state->done;
}

void FakeCuda::synchronize(FakeEvent* event) {
  std::unique_lock lock(mutex);
  if (is_ignored(event->device, ++waits_[event->device]) || event->state == nullptr) {
    return;
  }
  const std::shared_ptr<FakeEventState> state = event->state;
  changed.wait(lock, [&] { return state->done; });
  observe(state->clock);
}

bool FakeCuda::is_ignored(int device, int number) const {
  return ignored_device_ == device && ignored_number_ == number;
}

/// The calling thread has waited for what `clock` covers: it sees what was copied to the host.
void FakeCuda::observe(const Clock& clock) {
  Clock& seen = host_clocks_[host()];
  seen.join(clock);
  std::erase_if(shadows_, [&](const Shadow& shadow) {
    if (!clock.covers(shadow.actor, shadow.number)) {
      return false;
    }
    std::memcpy(shadow.to, shadow.content.data(), shadow.content.size());
    return true;
  });
}

void FakeCuda::queue(FakeStream* stream, FakeOperation operation) {
  if (stream->ending) {
    return error(operation.what + " was queued on a stream that was destroyed");
  }
  Clock& seen = host_clocks_[host()];
  stream->clock.join(seen);
  const uint64_t number = stream->clock.tick(stream->actor);
  for (const bool writes : {false, true}) {
    for (const MemoryRange& range : writes ? operation.writes : operation.reads) {
      if (!check_range(range, stream->device, operation.what)) {
        return;
      }
      const auto races = checker_.note(
          host(), {range, writes, stream->actor, number, operation.what}, stream->clock, seen);
      for (const std::string& race : races) {
        error(race);
      }
    }
  }
  if (std::none_of(operation.writes.begin(), operation.writes.end(), [&](const MemoryRange& range) {
        return is_in_use(range);
      })) {
    std::for_each(operation.writes.begin(), operation.writes.end(), [&](const MemoryRange& range) {
      const bool in_place =
          std::any_of(operation.reads.begin(), operation.reads.end(), [&](const MemoryRange& read) {
            return read.overlaps(range);
          });
      if (!in_place) {
        poison(range);
        operation.poisoned = true;
      }
    });
  }
  stream->operations.push_back(std::move(operation));
  changed.notify_all();
}

void FakeCuda::delay(FakeStream* stream, std::unique_lock<std::mutex>& lock) {
  const double draw = random_uniform(stream->key, stream->delays++);
  if (draw < 0.3) {
    lock.unlock();
    std::this_thread::sleep_for(
        std::chrono::microseconds(static_cast<int>(draw / 0.3 * options_.max_delay_us)));
    lock.lock();
  }
}

void FakeCuda::run_stream(FakeStream* stream) {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [&] { return stream->ending || !stream->operations.empty(); });
    if (stream->operations.empty()) {
      return;
    }
    FakeOperation& operation = stream->operations.front();  // others only push behind it
    delay(stream, lock);
    for (const MemoryRange& range : operation.writes) {
      const bool is_read =
          std::any_of(operation.reads.begin(), operation.reads.end(), [&](const MemoryRange& read) {
            return read.overlaps(range);
          });
      if (!operation.poisoned && !is_read && allocation_of(range.begin) != nullptr) {
        poison(range);
        delay(stream, lock);
      }
    }
    operation.run(lock);
    stream->operations.pop_front();
    changed.notify_all();
  }
}

// ---- memory ----

FakeCuda::Allocation* FakeCuda::allocation_of(const void* memory) {
  auto next = allocations_.upper_bound(static_cast<const std::byte*>(memory));
  if (next == allocations_.begin()) {
    return nullptr;
  }
  --next;
  const size_t offset = static_cast<size_t>(static_cast<const std::byte*>(memory) - next->first);
  return offset < next->second.bytes ? &next->second : nullptr;
}

bool FakeCuda::check_range(const MemoryRange& range, int device, const std::string& what) {
  const Allocation* allocation = allocation_of(range.begin);
  if (allocation == nullptr) {
    return true;  // of the host
  }
  const auto* end = static_cast<const std::byte*>(range.begin) + range.bytes;
  if (allocation->freed) {
    error(what + " uses memory that was freed");
  }
  if (allocation->device != device) {
    error(what + " uses memory of another device");
  }
  if (end > allocation->memory.get() + allocation->bytes) {
    error(what + " goes past the end of its memory");
    return false;
  }
  return true;
}

void FakeCuda::poison(const MemoryRange& range) {
  std::memset(const_cast<void*>(range.begin), 0xD6, range.bytes);
}

bool FakeCuda::is_in_use(const MemoryRange& range) {
  const auto overlapping = [&](const MemoryRange& other) { return other.overlaps(range); };
  return std::any_of(streams_.begin(), streams_.end(), [&](const auto& stream) {
    return std::any_of(
        stream->operations.begin(), stream->operations.end(), [&](const FakeOperation& other) {
          return std::any_of(other.reads.begin(), other.reads.end(), overlapping) ||
                 std::any_of(other.writes.begin(), other.writes.end(), overlapping);
        });
  });
}

void* FakeCuda::allocate(FakeStream* stream, size_t bytes) {
  const std::lock_guard lock(mutex);
  auto memory = std::make_unique<std::byte[]>(std::max<size_t>(bytes, 1));
  std::byte* begin = memory.get();
  allocations_[begin] = {std::move(memory), bytes, stream->device};
  queue(stream, {"an allocation", {}, {{begin, bytes}}, [](auto&) {}});
  return begin;
}

// The memory itself lives as long as the double, so that a late use is an error and not a crash.
void FakeCuda::free(FakeStream* stream, void* memory) {
  const std::lock_guard lock(mutex);
  const auto found = allocations_.find(static_cast<const std::byte*>(memory));
  if (found == allocations_.end() || found->second.freed) {
    return error("memory was freed twice, or was never allocated");
  }
  queue(stream, {"a free", {}, {{memory, found->second.bytes}}, [](auto&) {}});
  found->second.freed = true;
}

bool FakeCuda::is_on_device(const void* memory) {
  const std::lock_guard lock(mutex);
  return allocation_of(memory) != nullptr;
}

void FakeCuda::copy(FakeStream* stream, void* to, const void* from, size_t bytes) {
  const std::lock_guard lock(mutex);
  const bool to_host = allocation_of(to) == nullptr;
  const bool from_host = allocation_of(from) == nullptr;
  const uint64_t number = Clock(stream->clock).tick(stream->actor);
  const int actor = stream->actor;
  queue(stream,
        {"a copy", {{from, bytes}}, {{to, bytes}}, [=, this](auto&) {
           if (from_host) {  // what earlier copies have brought, which the host has not seen
             for (const Shadow& shadow : shadows_) {
               if (MemoryRange{shadow.to, shadow.content.size()}.overlaps({from, bytes})) {
                 std::memcpy(shadow.to, shadow.content.data(), shadow.content.size());
               }
             }
           }
           const auto* content = static_cast<const std::byte*>(from);
           if (to_host) {
             shadows_.push_back({to, {content, content + bytes}, actor, number});
           } else {
             std::memmove(to, from, bytes);
           }
         }});
}

// ---- what tests ask ----

bool FakeCuda::host_has_seen(int actor, uint64_t number) {
  return host_clocks_[host()].covers(actor, number);
}

void FakeCuda::check_host_reads(const void* memory, size_t bytes) {
  const std::lock_guard lock(mutex);
  const Clock& seen = host_clocks_[host()];
  const int reader = actors_++;
  Clock clock = seen;
  const uint64_t number = clock.tick(reader);
  for (const std::string& race :
       checker_.note(host(), {{memory, bytes}, false, reader, number, "the host"}, clock, seen)) {
    error(race);
  }
  host_clocks_[host()] = clock;
}

void FakeCuda::ignore_wait(int device, int number) {
  const std::lock_guard lock(mutex);
  ignored_device_ = device;
  ignored_number_ = number;
}

int FakeCuda::waits(int device) {
  const std::lock_guard lock(mutex);
  return waits_[device];
}

std::vector<std::string> FakeCuda::errors() {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] {
    return std::all_of(
        streams_.begin(), streams_.end(), [](const auto& s) { return s->operations.empty(); });
  });
  return errors_;
}

std::string FakeCuda::leftovers() {
  const std::lock_guard lock(mutex);
  const auto streams =
      std::count_if(streams_.begin(), streams_.end(), [](const auto& s) { return !s->ending; });
  const auto allocations = std::count_if(
      allocations_.begin(), allocations_.end(), [](const auto& a) { return !a.second.freed; });
  if (streams + allocations == 0 && events_.empty()) {
    return "";
  }
  return std::to_string(streams) + " streams, " + std::to_string(allocations) + " allocations, " +
         std::to_string(events_.size()) + " events";
}

}  // namespace enodia
