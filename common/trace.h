#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace enodia {

/// On whose line of a rank's trace a span is drawn.
enum class TraceTrack : uint8_t {
  kCompute,        ///< the main thread computes
  kWaiting,        ///< the main thread waits for communication: what is exposed
  kCommunication,  ///< an operation is under way, from its start to its end
};

/// A stretch of time on one rank.
struct TraceSpan {
  using Clock = std::chrono::steady_clock;
  TraceTrack track;
  std::string name;  ///< "layer 3 attention forward", "tokens exchange 57"
  Clock::time_point start, end;
  int64_t bytes = -1;        ///< sent and received; -1 = not a communication
  int32_t micro_batch = -1;  ///< that was worked on; -1 = none
};

/// Gathers the spans of one rank while it is switched on. Any thread may add; switched off, adding
/// costs one look at a flag.
class Trace {
 public:
  bool is_on() const;
  void switch_on();
  /// Switches off and hands over what was gathered, in order of their ends.
  std::vector<TraceSpan> take();
  void add(TraceSpan span);

 private:
  mutable std::mutex mutex_;
  bool on_ = false;
  std::vector<TraceSpan> spans_;
};

/// Adds its own lifetime as a span, when the trace is on from beginning to end.
class ScopedSpan {
 public:
  /// `trace` may be null; `name()` is called only while it is on.
  template <typename Name>
  ScopedSpan(Trace* trace, TraceTrack track, const Name& name, int32_t micro_batch = -1)
      : trace_(trace != nullptr && trace->is_on() ? trace : nullptr) {
    if (trace_ != nullptr) {
      span_ = {track, name(), TraceSpan::Clock::now(), {}, -1, micro_batch};
    }
  }
  ~ScopedSpan();
  ScopedSpan(const ScopedSpan&) = delete;
  ScopedSpan& operator=(const ScopedSpan&) = delete;

 private:
  Trace* trace_;
  TraceSpan span_{};
};

}  // namespace enodia
