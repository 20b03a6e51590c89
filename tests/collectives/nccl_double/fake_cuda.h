#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/random.h"
#include "tests/device_double/access_checker.h"

namespace enodia {

struct FakeOptions {
  uint64_t seed = 1;
  int max_delay_us = 100;  ///< of each step of an operation; most have none
  /// The host threads are ordered among each other by locks that the double does not see, as ranks
  /// on the loopback are: what one has waited for, all have.
  bool one_host = false;
  /// After this time, an operation that waits for another rank ends with an error.
  std::chrono::milliseconds patience{20'000};
};

/// What an operation on a stream does, and to which memory. `run` is called on the stream's thread
/// with the lock held; it may give it up in between.
struct FakeOperation {
  std::string what;
  std::vector<MemoryRange> reads;
  std::vector<MemoryRange> writes;  ///< those that are also read are not poisoned in advance
  std::function<void(std::unique_lock<std::mutex>& lock)> run;
  bool poisoned = false;
};

struct FakeEventState {
  bool done = false;
  Clock clock;
  int wait_number = 0;  ///< of the poll for it, 0 = not asked yet
};

struct FakeEvent {
  int device;
  std::shared_ptr<FakeEventState> state;
};

struct FakeStream {
  int device;
  int actor;
  Clock clock;
  RandomKey key{0};
  uint64_t delays = 0;
  bool ending = false;
  std::deque<FakeOperation> operations;  // the first one is running
  std::jthread thread;
};

/// Streams as threads, events, and memory that is watched. All public functions lock, but those
/// that take a lock.
class FakeCuda {
 public:
  explicit FakeCuda(const FakeOptions& options) : options_(options) {}
  ~FakeCuda();

  FakeStream* make_stream(int device);
  void end_stream(FakeStream* stream);
  FakeEvent* make_event(int device);
  void end_event(FakeEvent* event);
  void record(FakeEvent* event, FakeStream* stream);
  void wait(FakeStream* stream, const FakeEvent* event);
  bool query(FakeEvent* event);
  void synchronize(FakeEvent* event);
  void* allocate(FakeStream* stream, size_t bytes);
  void free(FakeStream* stream, void* memory);
  void copy(FakeStream* stream, void* to, const void* from, size_t bytes);
  bool is_on_device(const void* memory);

  /// Queues the operation: checks its accesses, poisons what it writes. Under the lock.
  void queue(FakeStream* stream, FakeOperation operation);
  /// Whether the calling thread has waited for all that the stream had to do at `clock`. Under the
  /// lock.
  bool host_has_seen(int actor, uint64_t number);
  bool is_on_device_locked(const void* memory) { return allocation_of(memory) != nullptr; }
  /// The stream's actor and how much it has to do so far. Under the lock.
  std::pair<int, uint64_t> last_of(const FakeStream* stream) const {
    return {stream->actor, stream->clock.number(stream->actor)};
  }
  void error(const std::string& text);  // under the lock

  void check_host_reads(const void* memory, size_t bytes);
  void ignore_wait(int device, int number);
  int waits(int device);
  std::vector<std::string> errors();
  std::string leftovers();

  const FakeOptions& options() const { return options_; }

  std::mutex mutex;
  std::condition_variable changed;

 private:
  struct Allocation {
    std::unique_ptr<std::byte[]> memory;
    size_t bytes;
    int device;
    bool freed = false;
  };
  /// What a copy has brought for host memory: it is seen there once the host has waited for it.
  struct Shadow {
    void* to;
    std::vector<std::byte> content;
    int actor;
    uint64_t number;
  };

  int host();
  Allocation* allocation_of(const void* memory);
  /// False when it must not be run.
  bool check_range(const MemoryRange& range, int device, const std::string& what);
  void poison(const MemoryRange& range);
  bool is_in_use(const MemoryRange& range);
  bool is_ignored(int device, int number) const;
  void observe(const Clock& clock);
  void run_stream(FakeStream* stream);
  void delay(FakeStream* stream, std::unique_lock<std::mutex>& lock);

  FakeOptions options_;
  int actors_ = 0;
  std::map<std::thread::id, int> hosts_;
  std::map<int, Clock> host_clocks_;
  AccessChecker checker_;
  std::map<const std::byte*, Allocation> allocations_;
  std::vector<Shadow> shadows_;
  std::vector<std::unique_ptr<FakeStream>> streams_;
  std::set<FakeEvent*> events_;
  std::map<int, int> waits_;
  int ignored_device_ = -1;
  int ignored_number_ = 0;
  std::vector<std::string> errors_;
};

/// The calling thread's current device.
int& fake_current_device();
}  // namespace enodia
