#pragma once

#include <cstdint>
#include <map>
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

  at::Tensor router_objective = {};  ///< the aux and z terms of the objective
  ReferenceStep step = {};           ///< routes, margins, load and the logged router losses
};

/// Where a forward pass is: which micro-batch, and which of its tokens have a label.
struct ReferencePlace {
  int64_t micro_batch;
  std::vector<int64_t> valid;
  std::vector<int64_t> valid_of_micro_batches = {};  ///< of the step
};

/// Throws std::invalid_argument unless the condition holds.
void require(bool condition, const std::string& sentence);

/// y = x w^T.
at::Tensor project(const at::Tensor& x, const at::Tensor& w);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps);

std::string layer_prefix(int64_t layer);
std::string expert_prefix(int64_t layer, int64_t expert);

/// What attention of a layer adds to the residual stream, from its normed tokens [T, D].
at::Tensor reference_attention(const ReferenceOptions& options,
                               const NamedTensors& parameters,
                               int64_t layer,
                               const ReferenceMicroBatch& batch,
                               const at::Tensor& x);
/// Its parameters by their names within the layer's attention.
std::map<std::string, std::vector<int64_t>> reference_attention_shapes(
    const ReferenceOptions& options);

/// The logits [T, V] of a micro-batch with at least one token.
at::Tensor reference_decode(const NamedTensors& parameters,
                            const ReferenceMicroBatch& batch,
                            const ReferencePlace& place,
                            ReferenceTally& tally);

}  // namespace enodia::detail
