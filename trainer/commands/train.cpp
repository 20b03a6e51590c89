#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "collectives/run_together.h"
#include "common/log.h"
#include "trainer/commands/commands.h"
#include "trainer/run/run_log.h"
#include "trainer/run/start.h"
#include "trainer/run/step_trace.h"
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
bool must_save(const StepRecord& record, const TrainConfig& config) {
  const int64_t last = config.train.steps;
  return is_due(record.step, config.checkpoint.interval, last) &&
         (record.update.applied || record.step == last);
}

}  // namespace

void train(Communicator& world, const TrainArguments& arguments) {
  TrainConfig config = read_config(world, arguments.config, arguments.overrides);
  std::optional<RunData> data;
  run_together(world, [&] { data.emplace(open_data(config)); });
  resolve_vocab_size(config, data->train);
  check_agreement(world, config, data->identity());

  TrainingRun run(world, config, std::move(*data));
  const bool speaks = world.rank() == 0;
  const int64_t num_steps = config.train.steps;
  const int64_t first_step = resume_or_initialize(
      run.mesh, run.config, run.data.identity(), run.folder, run.decoder, run.optimizer);
  std::optional<RunLog> log;
  run_together(world, [&] {
    if (speaks) {
      log.emplace(run.config, first_step, arguments.show);
    }
  });
  if (speaks && first_step >= num_steps) {
    log_info("the run in " + config.run.dir + " is complete: " + std::to_string(first_step) +
             " steps are done; raise train.steps to go on");
  }

  StepTrace step_trace(run.trace, run.mesh.control(), run.config, first_step);
  for (int64_t step = first_step; step < num_steps; ++step) {
    step_trace.before_step(step + 1);
    StepRecord record = run.train_step(step);
    if (run.data.valid && is_due(record.step, config.train.eval_interval, num_steps)) {
      record.valid_loss = run.held_out_loss();
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
      run.save(record.step);
    }
  }
  step_trace.finish();
  if (speaks && run.skipped_in_a_row > 0) {
    log_warning("the last " + std::to_string(run.skipped_in_a_row) +
                " steps were skipped since their gradients were not finite; the run has probably "
                "diverged");
  }
}

}  // namespace enodia
