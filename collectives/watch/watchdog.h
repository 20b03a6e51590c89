#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "collectives/watch/board_network.h"
#include "collectives/watch/stack_capture.h"
#include "collectives/watch/status_board.h"

namespace enodia {

/// How long a rank may be without a sign of life in each section; 0 s = for ever.
struct SectionTimeouts {
  std::array<std::chrono::seconds, kNumRunSections> seconds{};

  static SectionTimeouts all(std::chrono::seconds timeout);
  std::chrono::seconds& operator[](RunSection section) {
    return seconds[static_cast<size_t>(section)];
  }
  const std::chrono::seconds& operator[](RunSection section) const {
    return seconds[static_cast<size_t>(section)];
  }
};

/// A thread that ends a job in which nothing moves any more: when its rank has shown no sign of
/// life for longer than the section's timeout, it says what the node's ranks do and which of other
/// nodes are missing (once for the node), each rank prints where its main thread is, and all leave
/// by _exit(7), upon which mpirun ends the ranks of the other nodes. Makes no MPI call. Time during
/// which the whole process is stopped does not count.
class Watchdog {
 public:
  /// Watches the calling thread, the one that writes on the board. Collective over the world.
  Watchdog(Communicator& world, const SectionTimeouts& timeouts);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  StatusBoard& board() { return board_; }
  void set_timeouts(const SectionTimeouts& timeouts);

 private:
  void loop();
  [[noreturn]] void end_job(std::chrono::steady_clock::duration silence);
  std::string describe_stack();
  void wait_for_first_speaker() const;
  void wait_for_speakers() const;
  void wait_for_other_nodes() const;

  StatusBoard board_;
  BoardNetwork network_;
  const int rank_;
  StackCapture stack_;
  std::mutex mutex_;
  std::condition_variable wakeup_;
  SectionTimeouts timeouts_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace enodia
