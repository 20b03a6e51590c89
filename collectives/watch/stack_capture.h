#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include <pthread.h>

namespace enodia {

/// Asks a thread, by a signal (SIGRTMIN + 3), where it is. The thread only notes its return
/// addresses; names are looked up by whoever asks. Functions have names when the program exports
/// its symbols (ENABLE_EXPORTS).
class StackCapture {
 public:
  /// Of the calling thread.
  StackCapture();
  StackCapture(const StackCapture&) = delete;
  StackCapture& operator=(const StackCapture&) = delete;

  /// Function names without arguments, innermost first; empty when the thread does not answer in
  /// time (it cannot while it is inside the kernel without a way to be interrupted). Called by
  /// another thread, once.
  std::vector<std::string> take(std::chrono::milliseconds patience);

 private:
  struct Request {
    std::array<void*, 64> addresses{};
    std::atomic<int> count = -1;  // -1 = no answer yet
  };
  static void answer(int signal, siginfo_t* info, void* context);

  pthread_t thread_;
  Request request_;
};

}  // namespace enodia
