#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/log.h"
#include "trainer/commands/commands.h"
#include "trainer/run/drill.h"
#include "trainer/run/memory_comparison.h"
#include "trainer/run/open_emulation.h"
#include "trainer/run/run_directory.h"
#include "trainer/run/run_log.h"
#include "trainer/run/start.h"
#include "trainer/run/step_trace.h"
#include "trainer/run/training_device.h"
#include "trainer/run/training_run.h"
#include "trainer/state/resume.h"

namespace enodia {
namespace {

/// After so many skipped steps in a row the run has diverged (exit 6).
constexpr int kMaxSkippedSteps = 20;

/// Steps at which something happens: every `interval` steps and at the end.
bool is_due(int64_t step, int64_t interval, int64_t last) {
  return step == last || (interval > 0 && step % interval == 0);
}

/// While steps are being skipped nothing is saved but the end of the run: a run that diverges would
/// replace its last good checkpoints by bad ones. A resumed run has therefore always skipped none.
/// A run that computes nothing has nothing to save.
bool must_save(const StepRecord& record, const TrainConfig& config) {
  const int64_t last = config.train.steps;
  if (!config.train.computes()) {
    return false;
  }
  return (is_due(record.step, config.checkpoint.interval, last) || record.losses.stop_wanted) &&
         (record.update.applied || record.step == last);
}

/// A full disk may have room again by the next save, so it costs a warning, not the run; but what
/// nobody saves later is lost, so the last save must succeed. Collective.
void save(TrainingRun& run, const StepRecord& record) {
  try {
    run.save(record.step);
  } catch (const SharedError& error) {
    if (record.step == run.config.train.steps || record.losses.stop_wanted) {
      throw;
    }
    if (run.mesh.rank() == 0) {
      log_warning(std::string("NOT SAVED, but training goes on: ") + error.what());
    }
  }
}

/// The way out of a run that a signal stopped: every rank is here.
[[noreturn]] void stop_run(const std::string& when) {
  throw SharedError("stopped by a signal " + when + "; the same command goes on",
                    ExitCode::kStopped);
}

}  // namespace

void train(Communicator& world,
           Watchdog& watchdog,
           const TrainArguments& arguments,
           const StopSignal& stop,
           const ModelParts& parts) {
  TrainConfig config =
      read_config(world, arguments.config, arguments.overrides, arguments.start, parts.names());
  watchdog.set_timeouts(section_timeouts(config.run));
  const std::unique_ptr<TrainingDevice> device = open_training_device(world, config.run.device);
  std::optional<Drill> drill;
  std::optional<RunData> data;
  Emulation emulation;
  run_together(world, [&] {
    drill = parse_drill(arguments.drill, world.world_size());
    data.emplace(open_data(config));
    resolve_vocab_size(config, *data);
    emulation = open_emulation(config, world.world_size());
    if (world.rank() == 0) {
      check_budget(config);
    }
  });
  check_agreement(world, config, *data);
  const std::optional<RunLock> lock = claim_run_directory(world, config, arguments.start);
  MemoryComparison memory(config, world.world_size());
  run_together(world, [&] {
    if (world.rank() == 0) {
      refuse_to_resume_virtually(config);
      memory.announce();
    }
  });

  // From here on MPI belongs to the run: its mesh talks to the others, `world` no more.
  TrainingRun run(world, config, std::move(*data), watchdog.board(), *device, parts, emulation);
  const bool speaks = run.mesh.rank() == 0;
  if (speaks && !config.train.computes()) {
    log_warning("with train.virtual_compute (" + config.train.virtual_compute +
                ") ranks sleep in place of computing: losses and weights mean nothing, and no "
                "checkpoint is saved");
  }
  const int64_t num_steps = config.train.steps;
  const int64_t first_step = resume_or_initialize(
      run.mesh, run.config, run.data.identity(), run.folder, run.decoder, run.optimizer);
  std::optional<RunLog> log;
  run_together(run.mesh.control(), [&] {
    if (speaks) {
      log.emplace(run.config, first_step, arguments.show);
      keep_rates(run.rates, run.config);
      if (first_step > 0 && first_step < num_steps) {
        memory.write();
      }
    }
  });
  if (speaks && first_step >= num_steps) {
    log_info("the run in " + config.run.dir + " is complete: " + std::to_string(first_step) +
             " steps are done; raise train.steps to go on");
  }

  const bool stops_early = first_step < num_steps && stop.flag();
  if (all_reduce_value(run.mesh.control(), int64_t{stops_early}, ReduceOp::kMax) != 0) {
    stop_run("before step " + std::to_string(first_step + 1) + " began");
  }
  run.engine.heed(stop.flag());

  StepTrace step_trace(run.trace, run.mesh.control(), run.config, first_step);
  std::string stopped;  // how the run was stopped, if it was
  for (int64_t step = first_step; step < num_steps && stopped.empty(); ++step) {
    run.begin_step(step);
    step_trace.before_step(step + 1);
    if (drill) {
      drill->perform(run.mesh.rank(), step + 1, run.recorder);
    }
    StepRecord record = run.train_step(step);
    memory.observe(record.memory.tensors);
    if (run.data.valid && is_due(record.step, config.train.eval_interval, num_steps)) {
      record.valid_loss = run.held_out_loss(record.step, [&](int64_t done, int64_t total) {
        if (speaks) {
          log->show_evaluation(done, total);
        }
      });
    }
    if (speaks) {
      log->append(record);
    }
    if (run.skipped_in_a_row >= kMaxSkippedSteps) {
      throw SharedError("the gradient was not finite in " + std::to_string(kMaxSkippedSteps) +
                            " steps in a row; lower optim.lr or raise optim.warmup_samples and "
                            "resume from the last checkpoint",
                        ExitCode::kDiverged);
    }
    if (must_save(record, config)) {
      save(run, record);
    }
    if (record.losses.stop_wanted && record.step < num_steps) {
      stopped = (!config.train.computes() ? "with nothing to save, after "
                 : record.update.applied  ? "after saving step "
                                          : "in a row of skipped steps, after ") +
                std::to_string(record.step);
    }
  }
  step_trace.finish();
  memory.finish(run.mesh.control());
  run_together(run.mesh.control(), [&] {
    if (speaks) {
      log->finish();
    }
  });
  if (speaks && run.skipped_in_a_row > 0) {
    log_warning("the last " + std::to_string(run.skipped_in_a_row) +
                " steps were skipped since their gradients were not finite; the run has probably "
                "diverged");
  }
  if (!stopped.empty()) {
    stop_run(stopped);
  }
}

}  // namespace enodia
