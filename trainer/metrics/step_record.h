#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "collectives/decorators/recording.h"
#include "common/json.h"
#include "trainer/metrics/memory_record.h"
#include "trainer/metrics/step_timer.h"
#include "trainer/metrics/tensorboard_file.h"
#include "trainer/step/owner_moves.h"
#include "trainer/step/step_engine.h"

namespace enodia {

/// All that is known of a step, as docs/metrics.md lists it.
struct StepRecord {
  int64_t step = 0;    ///< steps done, from 1
  int64_t tokens = 0;  ///< tokens of all sequences seen so far
  StepLosses losses;
  UpdateResult update;
  double lr = 0;
  StepTimes times;                    ///< of rank 0
  CommunicationCounts communication;  ///< of rank 0 in this step
  double tokens_per_s = 0;
  double tflops = 0;       ///< of all ranks, in the operations that training_flops counts
  double peak_tflops = 0;  ///< of all ranks
  MemoryRecord memory;
  /// At steps at which owners may move.
  std::optional<OwnerMoves> moves;
  std::optional<double> valid_loss;  ///< held-out nats per token, at steps that evaluate

  /// Model FLOPs utilization: the part of the peak that went into the model.
  double mfu() const { return peak_tflops > 0 ? tflops / peak_tflops : 0.0; }
  Json to_json() const;
  /// "step 12/500 | loss 4.2130 | aux 1.02 | norm 0.87 | lr 3.00e-04 | 412 ms | ..."
  std::string to_line(int64_t num_steps) const;
  /// For TensorBoard: the same numbers under tags, "loss/train", "load/layer_3/dead".
  std::vector<Scalar> to_scalars() const;
};

}  // namespace enodia
