#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "collectives/communicator.h"
#include "common/trace.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// Switches the run's trace on for the steps that the section `trace` of the configuration names,
/// and writes all ranks' spans to one file, run.dir/trace-step_N.json (N = the first of them), when
/// the next step is about to start. What happens between the steps, such as a save, is traced too.
class StepTrace {
 public:
  /// `first_step` is the number of steps that were done before.
  StepTrace(Trace& trace, Communicator& world, const TrainConfig& config, int64_t first_step);

  /// Step number `step`, from 1, is about to start. Collective.
  void before_step(int64_t step);
  /// No more steps will follow. Collective.
  void finish();

 private:
  /// When a trace began.
  struct Beginning {
    TraceSpan::Clock::time_point time;  // on this rank's clock
    double error;                       // seconds; on rank 0 the largest of all ranks
  };
  Beginning agree_on_beginning();
  void write();

  Trace& trace_;
  Communicator& world_;
  const TraceOptions options_;
  const std::filesystem::path file_;
  int64_t last_step_ = 0;               // traced so far
  std::optional<Beginning> beginning_;  // while the trace is on
};

}  // namespace enodia
