#pragma once

#include <ATen/core/Tensor.h>

#include "collectives/communicator.h"
#include "models/block.h"
#include "models/model_options.h"
#include "models/router/route.h"

namespace enodia {

/// The load-balance losses over experts and over groups of experts, and the z loss, of one MoE
/// layer. Their gradients carry 1/N, so that a micro-batch's own valid tokens cancel.
class RouterLosses {
 public:
  /// Copies of valid tokens for each expert [sets, E] and those tokens [sets], both int64, of the
  /// sets of tokens that a loss is of: whichever ranks have them. On the host.
  struct Counts {
    at::Tensor copies, tokens;
  };
  struct AllCounts {
    Counts sets;         ///< of router.aux_loss_scope
    Counts micro_batch;  ///< of the loss over groups; undefined without one
  };
  struct Result {
    LossSums sums;
    at::Tensor grad_probs, grad_logits;  ///< [Tr, E] of the route's
  };

  /// Borrows the communicator of all ranks. `moe_layer` is the layer's place in BlockState::so_far.
  RouterLosses(const RouterOptions& options, int moe_layer, Communicator& world)
      : options_(options),
        moe_layer_(moe_layer),
        world_(world) {}

  /// Counts over the ranks that have tokens of the same sets, and adds to so_far. Collective over
  /// the tensor-parallel group, or over all ranks when the sets are the global batch; then throws
  /// CommError when the ranks count more valid tokens than the step has.
  AllCounts count(const BlockState& state, const Route& route) const;
  /// The losses of this rank's tokens, and their gradients. Local.
  Result evaluate(const BlockState& state, const Route& route, const AllCounts& counts) const;

 private:
  bool by_sequence() const { return options_.aux_loss_scope == AuxLossScope::kSequence; }
  Counts count_sets(const BlockState& state, const Route& route, bool by_sequence) const;
  Counts count_global_batch(const BlockState& state, const Route& route) const;

  const RouterOptions options_;
  const int moe_layer_;
  Communicator& world_;
};

}  // namespace enodia
