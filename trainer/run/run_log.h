#pragma once

#include <cstdint>
#include <optional>

#include "trainer/config/train_config.h"
#include "trainer/metrics/metrics_file.h"
#include "trainer/metrics/progress.h"
#include "trainer/metrics/step_record.h"
#include "trainer/metrics/tensorboard_file.h"

namespace enodia {

/// How steps are shown on stdout.
enum class ShowSteps : uint8_t { kLines, kTerminal, kJson };

/// Everything that rank 0 writes of a run's steps: files in the run directory and stdout.
class RunLog {
 public:
  /// Writes config.yaml and opens the files for the steps after `first_step`. Throws FileError.
  RunLog(const TrainConfig& config, int64_t first_step, ShowSteps show);

  void append(const StepRecord& record);
  /// Throws FileError when steps could not be written to metrics.jsonl, not even by now.
  void finish() { metrics_.finish(); }
  /// How far the evaluation of the step to come is.
  void show_evaluation(int64_t done, int64_t total);

 private:
  void append_event(const StepRecord& record);

  MetricsFile metrics_;
  std::optional<TensorBoardFile> tensorboard_;
  Progress progress_;
  ShowSteps show_;
};

}  // namespace enodia
