#include "trainer/run/step_trace.h"

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "collectives/collectives.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "trainer/metrics/chrome_trace.h"

#include <unistd.h>

namespace enodia {
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

}  // namespace

StepTrace::StepTrace(Trace& trace,
                     Communicator& world,
                     const TrainConfig& config,
                     int64_t first_step)
    : trace_(trace),
      world_(world),
      options_(config.trace),
      file_(std::filesystem::path(config.run.dir) /
            ("trace-step_" + std::to_string(config.trace.first_step) + ".json")) {
  const int64_t wanted = options_.first_step;
  if (wanted > 0 && (wanted <= first_step || wanted > config.train.steps)) {
    log_info("nothing will be traced: trace.first_step (" + std::to_string(wanted) +
             ") is none of the steps " + std::to_string(first_step + 1) + " to " +
             std::to_string(config.train.steps) + " that are to be done");
  }
}

void StepTrace::before_step(int64_t step) {
  if (clock_ && step == options_.first_step + options_.steps) {
    write();
  }
  if (step == options_.first_step) {
    clock_ = align_clocks(world_);
    trace_.switch_on();
  }
  last_step_ = step;
}

void StepTrace::finish() {
  if (clock_) {
    write();
  }
}

/// A trace is not worth a run: what goes wrong with its file is told, and training goes on.
void StepTrace::write() {
  const AlignedClock clock = *std::exchange(clock_, std::nullopt);
  const std::vector<std::string> events = gather_text(
      world_, chrome_events({world_.rank(), host_name(), clock.origin, trace_.take()}), 0);
  if (world_.rank() != 0) {
    return;
  }
  const double error_us = std::chrono::duration<double, std::micro>(clock.error).count();
  try {
    write_file_atomically(file_,
                          chrome_trace(events,
                                       {{"first_step", options_.first_step},
                                        {"last_step", last_step_},
                                        {"ranks", world_.world_size()},
                                        {"largest_clock_error_us", error_us}}));
    log_info("the trace of steps " + std::to_string(options_.first_step) + " to " +
             std::to_string(last_step_) + " is in " + file_.string());
  } catch (const FileError& error) {
    log_warning(std::string("no trace: ") + error.what());
  }
}

}  // namespace enodia
