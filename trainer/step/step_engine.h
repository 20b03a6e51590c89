#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/trace.h"
#include "models/block.h"
#include "models/decoder.h"
#include "optim/adamw.h"
#include "parallel/mesh.h"
#include "trainer/data/micro_batch.h"
#include "trainer/step/step_schedule.h"

namespace enodia {

/// How evenly the experts of the MoE layers were loaded in a step: max / mean, averaged over
/// layers.
struct Imbalance {
  double expert = 1.0;  ///< tokens of an expert
  double rank = 1.0;    ///< token copies that a rank computed
};

/// What a step's forward and backward found; the same on every rank.
struct StepLosses {
  int64_t tokens = 0;   ///< N, valid tokens of the step
  double loss = 0;      ///< mean cross-entropy in nats, aux terms excluded
  double aux_loss = 0;  ///< L_aux, mean over MoE layers and valid tokens
  double z_loss = 0;    ///< L_z, likewise
  Imbalance imbalance;
};

/// What the update found; the same on every rank.
struct UpdateResult {
  double grad_norm = 0;
  bool applied = false;  ///< false: the norm was not finite and the step was skipped everywhere
};

/// Drives the blocks of a decoder: the only caller of their phases. Every method is collective over
/// the mesh; ranks give their own micro-batches, equally many (an empty one is legal).
class StepEngine {
 public:
  /// While `trace` is on each phase becomes a span of it; null = no trace.
  StepEngine(Decoder& decoder, const ProcessMesh& mesh, Trace* trace = nullptr);

  /// Forward and backward of all micro-batches; afterwards the `grad` columns hold the gradient of
  /// the step's objective (docs/numerics.md), whole on every holder.
  StepLosses accumulate_gradients(int64_t step, std::span<const MicroBatch> micro_batches);

  /// Clips, updates and makes what is computed with equal to the new masters; skips all of it on
  /// all ranks when the gradient norm is not finite.
  UpdateResult apply_update(AdamW& optimizer, double lr);

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
  void run(const StepSchedule& schedule, std::vector<BlockState>& states);
  void agree_on_step(int64_t& valid_tokens);
  StepLosses reduce_losses(const std::vector<BlockState>& states, int64_t valid_tokens);
  Imbalance measure_imbalance(const std::vector<BlockState>& states);

  Decoder& decoder_;
  const ProcessMesh& mesh_;
  Trace* trace_;
  std::vector<int> phases_of_block_;
};

}  // namespace enodia
