#include "trainer/run/step_trace.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "collectives/collectives.h"
#include "collectives/diagnosis/clock_probe.h"
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

double steady_seconds() {
  return std::chrono::duration<double>(TraceSpan::Clock::now().time_since_epoch()).count();
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
  if (beginning_ && step == options_.first_step + options_.steps) {
    write();
  }
  if (step == options_.first_step) {
    beginning_ = agree_on_beginning();
    trace_.switch_on();
  }
  last_step_ = step;
}

void StepTrace::finish() {
  if (beginning_) {
    write();
  }
}

StepTrace::Beginning StepTrace::agree_on_beginning() {
  const double begun = steady_seconds();
  std::vector<double> times(static_cast<size_t>(world_.world_size()));  // on each rank's clock
  double error = 0;
  const std::vector<ClockOffset> offsets = measure_clocks(world_, steady_seconds);
  for (size_t rank = 0; rank < offsets.size(); ++rank) {  // on rank 0 alone
    times[rank] = begun + offsets[rank].seconds;
    error = std::max(error, offsets[rank].error);
  }
  world_.broadcast(view(std::span<double>(times)), 0).wait();
  const std::chrono::duration<double> mine(times[world_.rank()]);
  return {TraceSpan::Clock::time_point(std::chrono::round<TraceSpan::Clock::duration>(mine)),
          error};
}

/// A trace is not worth a run: what goes wrong with its file is told, and training goes on.
void StepTrace::write() {
  const Beginning beginning = *std::exchange(beginning_, std::nullopt);
  const std::vector<std::string> events = gather_text(
      world_, chrome_events({world_.rank(), host_name(), beginning.time, trace_.take()}), 0);
  if (world_.rank() != 0) {
    return;
  }
  try {
    write_file_atomically(file_,
                          chrome_trace(events,
                                       {{"first_step", options_.first_step},
                                        {"last_step", last_step_},
                                        {"ranks", world_.world_size()},
                                        {"largest_clock_error_us", beginning.error * 1e6}}));
    log_info("the trace of steps " + std::to_string(options_.first_step) + " to " +
             std::to_string(last_step_) + " is in " + file_.string());
  } catch (const FileError& error) {
    log_warning(std::string("no trace: ") + error.what());
  }
}

}  // namespace enodia
