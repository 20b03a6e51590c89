#pragma once

#include <atomic>

namespace enodia {

/// Asks a run to save and stop. While the one object of this class lives, SIGUSR1, SIGTERM and
/// SIGINT only raise its flag. A second SIGTERM or SIGINT ends the process at once; SIGUSR1 may
/// come as often as it likes, since whoever cannot know whether it arrived sends it again.
class StopSignal {
 public:
  /// Local, and to be made before anything that takes long: a signal that comes earlier ends the
  /// process, unless its parent blocked it, in which case it arrives now.
  StopSignal();
  /// SIGUSR1 is ignored from here on: the process is about to end by itself.
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// True for ever once a signal has come to this process. Ranks have to agree on what they do.
  const std::atomic<bool>& flag() const { return flag_; }

 private:
  std::atomic<bool> flag_ = false;
};

}  // namespace enodia
