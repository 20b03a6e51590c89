#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/references/reference_model.h"

/// The forward pass of the reference, for reference_model.cpp alone.
namespace enodia::detail {

/// What the forward passes of a step collect beside their logits.
struct ReferenceTally {
  const ReferenceOptions& options;
  const ReferenceRoutes* replay;  ///< null = the reference chooses
  int64_t valid_of_step;          ///< N
  int64_t step_number = 0;        ///< from 0, for random numbers
  /// [micro-batch][MoE layer]: copies of valid tokens for each expert; filled by count_only.
  std::vector<std::vector<std::vector<int64_t>>> counts = {};
  bool count_only = false;  ///< a pass before the real one

  at::Tensor router_objective;  ///< the aux and z terms of the objective
  ReferenceStep step;           ///< routes, margins, load and the logged router losses
};

/// Where a forward pass is: which micro-batch, and which of its tokens have a label.
struct ReferencePlace {
  int64_t micro_batch;
  std::vector<int64_t> valid;
  std::vector<int64_t> valid_of_micro_batches = {};  ///< of the step
};

/// Throws std::invalid_argument unless the condition holds.
void require(bool condition, const std::string& sentence);

std::string layer_prefix(int64_t layer);
std::string expert_prefix(int64_t layer, int64_t expert);

/// The logits [T, V] of a micro-batch with at least one token.
at::Tensor reference_decode(const NamedTensors& parameters,
                            const ReferenceMicroBatch& batch,
                            const ReferencePlace& place,
                            ReferenceTally& tally);

}  // namespace enodia::detail
