#include "trainer/evaluate.h"

#include <algorithm>

namespace enodia {

HeldOutLoss evaluate_windows(StepEngine& engine,
                             const ProcessMesh& mesh,
                             const EvalWindows& windows,
                             const EvaluationProgress& progress) {
  HeldOutLoss total;
  for (int64_t first = 0; first < windows.num_batches(); first += mesh.layout().dp) {
    const int64_t mine = first + mesh.data_rank();
    const StepEngine::Evaluation part =
        engine.evaluate(mine < windows.num_batches() ? windows.batch(mine) : MicroBatch());
    total.nats += part.nats;
    total.tokens += part.tokens;
    if (progress) {
      progress(std::min<int64_t>(first + mesh.layout().dp, windows.num_batches()),
               windows.num_batches());
    }
  }
  return total;
}

}  // namespace enodia
