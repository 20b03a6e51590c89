#include "trainer/metrics/progress.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <unistd.h>

namespace enodia {
namespace {

/// Back to the start of the terminal's line, which becomes empty.
constexpr const char* kEraseLine = "\r\x1b[K";

}  // namespace

void Progress::show(const StepRecord& record) {
  const bool last = record.step == num_steps_;
  const bool stays =
      last || record.step % log_interval_ == 0 || record.valid_loss || !record.update.applied;
  std::string line = record.to_line(num_steps_);
  if (terminal_) {
    const auto seconds = static_cast<long>(static_cast<double>(num_steps_ - record.step) *
                                           record.times.total / 1000.0);
    line = kEraseLine + line;
    if (!last) {
      line += " | " + std::to_string(seconds / 60) + "m" + std::to_string(seconds % 60) + "s left";
    }
  }
  if (terminal_ || stays) {
    std::fputs((line + (stays ? "\n" : "")).c_str(), stdout);
    std::fflush(stdout);
  }
}

void Progress::show_evaluation(int64_t done, int64_t total) {
  if (terminal_) {
    rewrite_evaluation_line(done, total);
  }
}

void rewrite_evaluation_line(int64_t done, int64_t total) {
  std::printf("%sevaluating %lld/%lld micro-batches",
              kEraseLine,
              static_cast<long long>(done),
              static_cast<long long>(total));
  std::fflush(stdout);
}

void erase_line() {
  std::fputs(kEraseLine, stdout);
}

bool watched_by_a_person(bool launched_by_mpi) {
  const char* said = std::getenv("ENODIA_TERMINAL");
  if (said != nullptr) {
    return std::string_view(said) == "1";
  }
  return !launched_by_mpi && ::isatty(STDOUT_FILENO) == 1;
}

}  // namespace enodia
