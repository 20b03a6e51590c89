#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <vector>

#include "collectives/work.h"
#include "common/trace.h"

namespace enodia {

/// A part of an operation that is started as a whole: at most a chunk of each message, or one half
/// of a reduction.
struct Stage {
  std::function<Work()> start;
  std::function<void()> finish = {};  ///< after the work is done; may be empty
  int after = -1;  ///< the stage of this operation that must have finished before
};

/// An operation that one thread asks for and the communication thread carries out. The caller calls
/// wait() and done(), the communication thread everything else.
class QueuedOperation {
 public:
  /// `name` ("exchange") lives for ever; `sequence` counts the operations of the communicator.
  QueuedOperation(std::vector<Stage> stages, const char* name, int64_t sequence);

  /// Blocks until the operation is done; throws what went wrong.
  void wait();
  bool is_awaited() const { return awaited_.load(std::memory_order_relaxed); }
  bool done() const { return state_.load(std::memory_order_acquire) == kDone; }

  const char* name() const { return name_; }
  int64_t sequence() const { return sequence_; }
  /// Whether the next stage may start now.
  bool can_start() const;
  bool all_started() const { return next_ == stages_.size(); }
  /// Starts the next stage and returns its number; none when that failed.
  std::optional<int> start(Work& work);
  /// Ends stage `stage`, whose work is done, with what follows it.
  void finish(int stage, Work& work);
  /// True once: when no stage is under way and none will be. Lets go of all buffers then and wakes
  /// whoever waits.
  bool complete_if_settled();
  TraceSpan::Clock::time_point started_at() const { return started_at_; }

 private:
  static constexpr uint32_t kPending = 0, kDone = 1;

  void fail();

  std::vector<Stage> stages_;
  std::vector<bool> finished_;
  size_t next_ = 0;
  int under_way_ = 0;
  const char* name_;
  int64_t sequence_;
  TraceSpan::Clock::time_point started_at_;
  std::exception_ptr error_;
  std::atomic<bool> awaited_ = false;
  std::atomic<uint32_t> state_ = kPending;
};

}  // namespace enodia
