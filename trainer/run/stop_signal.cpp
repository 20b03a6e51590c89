#include "trainer/run/stop_signal.h"

#include <array>
#include <csignal>

#include "common/check.h"

namespace enodia {
namespace {

constexpr std::array kSignals{SIGUSR1, SIGTERM, SIGINT};

// A handler is given nothing but a number, so where its flag lies has to be a global; only the
// object below sets it.
std::atomic<bool>* flag_of_handler = nullptr;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler must not wait for a lock");

extern "C" void raise_flag(int number) {
  const bool again = flag_of_handler->exchange(true);
  if (again && number != SIGUSR1) {
    std::signal(number, SIG_DFL);
    std::raise(number);  // takes effect when this handler returns
  }
}

}  // namespace

StopSignal::StopSignal() {
  ENODIA_CHECK(flag_of_handler == nullptr, "a process can have one StopSignal");
  flag_of_handler = &flag_;
  struct sigaction action {};
  action.sa_handler = raise_flag;
  action.sa_flags = SA_RESTART;  // no read or write is cut short
  sigset_t heard;
  sigemptyset(&heard);
  for (const int number : kSignals) {
    sigaction(number, &action, nullptr);
    sigaddset(&heard, number);
  }
  pthread_sigmask(SIG_UNBLOCK, &heard, nullptr);
}

StopSignal::~StopSignal() {
  std::signal(SIGUSR1, SIG_IGN);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  flag_of_handler = nullptr;
}

}  // namespace enodia
