#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/trace.h"
#include "models/block.h"
#include "models/decoder.h"
#include "optim/adamw.h"
#include "parallel/gradient_reduction.h"
#include "parallel/mesh.h"
#include "trainer/data/micro_batch.h"
#include "trainer/step/expert_load.h"
#include "trainer/step/step_schedule.h"

namespace enodia {

/// What a step's forward and backward found; the same on every rank.
struct StepLosses {
  int64_t tokens = 0;  ///< N, valid tokens of the step
  double loss = 0;     ///< mean cross-entropy in nats, aux terms excluded
  /// Mean of the loss of one's own; none when the model trains on cross-entropy.
  std::optional<double> objective;
  double aux_loss = 0;     ///< L_aux, mean over MoE layers and valid tokens
  double device_loss = 0;  ///< of groups of experts, likewise
  double z_loss = 0;       ///< L_z, likewise
  /// Route::margin, the smallest of all tokens and layers; infinite where nothing was chosen.
  double route_margin = std::numeric_limits<double>::infinity();
  StepLoad load;
  bool stop_wanted = false;  ///< by any rank; see StepEngine::heed
};

/// What the update found; the same on every rank.
struct UpdateResult {
  double grad_norm = 0;
  bool applied = false;  ///< false: the norm was not finite and the step was skipped everywhere
};

struct StepOptions {
  uint64_t seed = 0;  ///< of what is random in a step
  Recompute recompute = Recompute::kNone;
  /// MoE layers, the last ones, whose replicas stay from forward to backward.
  int kept_layers = 0;
};

/// Drives the blocks of a decoder: the only caller of their phases. Every method is collective over
/// the mesh; the ranks of a tensor-parallel group give the same micro-batches, the groups their
/// own, equally many (an empty one is legal).
class StepEngine {
 public:
  /// While `trace` is on each phase becomes a span of it; null = no trace.
  StepEngine(Decoder& decoder,
             const ProcessMesh& mesh,
             const StepOptions& options = {},
             Trace* trace = nullptr);

  /// From now on each step tells all ranks, with the reduction of its losses, whether any of them
  /// has its flag raised. The flag must outlive the engine. Local; all ranks or none.
  void heed(const std::atomic<bool>& stop_wanted) { stop_wanted_ = &stop_wanted; }

  /// From now on tells `observe` what the routers decide for this rank's tokens. Local; on any
  /// rank.
  void observe_routes(ObserveRoutes observe) { observe_routes_ = std::move(observe); }

  /// Forward and backward of all micro-batches; afterwards the `grad` columns hold the gradient of
  /// the step's objective (docs/numerics.md), whole on every holder.
  StepLosses accumulate_gradients(int64_t step, std::span<const MicroBatch> micro_batches);

  /// Clips, updates and makes what is computed with equal to the new masters; skips all of it on
  /// all ranks when the gradient norm is not finite. `load` is that of the step.
  UpdateResult apply_update(AdamW& optimizer, double lr, const StepLoad& load);

  /// Cross-entropy in nats summed over the valid tokens of all ranks' micro-batches, and their
  /// number. No gradients.
  struct Evaluation {
    double nats = 0;
    int64_t tokens = 0;
  };
  Evaluation evaluate(const MicroBatch& micro_batch);

  /// Logits [N, V] of the wanted rows of one local micro-batch without labels.
  at::Tensor logits(const MicroBatch& micro_batch, std::span<const int64_t> wanted_rows);

 private:
  BlockState make_state(const MicroBatch& micro_batch, const StepContext& context) const;
  /// "layer 3 experts backward".
  std::string name_of(const PhaseCall& call) const;
  void run(const StepSchedule& schedule,
           std::vector<BlockState>& states,
           GradientReduction* reduction = nullptr);
  void call_phase(const PhaseCall& call, BlockState& state);
  int64_t agree_on_step(std::span<const MicroBatch> micro_batches);
  StepLosses reduce_losses(const std::vector<BlockState>& states, int64_t valid_tokens);

  Decoder& decoder_;
  const ProcessMesh& mesh_;
  StepOptions options_;
  Trace* trace_;
  std::vector<int> phases_of_block_;
  std::vector<int> fetching_phases_;  // [blocks]
  std::vector<bool> recomputed_;      // [blocks]
  std::vector<bool> kept_;            // [blocks] whether replicas stay for backward
  const std::atomic<bool>* stop_wanted_ = nullptr;
  ObserveRoutes observe_routes_;
};

}  // namespace enodia
