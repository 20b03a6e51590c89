#pragma once

#include <cstdint>
#include <functional>

#include "trainer/data/eval_windows.h"
#include "trainer/step/step_engine.h"

namespace enodia {

/// Held-out loss of a whole data set.
struct HeldOutLoss {
  double nats = 0;     ///< summed over the predicted tokens
  int64_t tokens = 0;  ///< predicted
  double loss() const { return tokens > 0 ? nats / static_cast<double>(tokens) : 0.0; }
};

/// Told after each round how many of how many micro-batches are done.
using EvaluationProgress = std::function<void(int64_t done, int64_t total)>;

/// Micro-batch i goes to rank i mod world; ranks without one in the last round take part with zero
/// tokens. Collective; the same result on every rank.
HeldOutLoss evaluate_windows(StepEngine& engine,
                             const ProcessMesh& mesh,
                             const EvalWindows& windows,
                             const EvaluationProgress& progress = {});

}  // namespace enodia
