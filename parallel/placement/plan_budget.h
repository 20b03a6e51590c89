#pragma once

#include <cstdint>

#include "parallel/placement/cost_model.h"

namespace enodia {

/// Numbers of a model's layer that decide what plans cost.
struct LayerWork {
  double flops_of_copy = 0;       ///< of one token copy in an expert, forward
  double flops_between = 0;       ///< of a rank between the experts of two layers, forward
  double bytes_of_copy = 0;       ///< of a token copy on its way, one way
  double bytes_of_weights = 0;    ///< of an expert that is brought
  double bytes_of_gradients = 0;  ///< of an expert's gradients that go home
  bool brought_twice = true;      ///< forward and backward
};

/// Nanoseconds that one micro-batch's way through a layer, forward and backward, takes of a rank or
/// its links: what plans are priced by. Integers, the same on all ranks. All 0: not known.
struct PlanBudget {
  int64_t token = 0;       ///< a token copy is computed
  int64_t token_away = 0;  ///< it goes to another node and back: of the link of each rank of a node
  int64_t expert = 0;      ///< an expert is brought to a rank and its gradients go home
  int64_t expert_away = 0;  ///< both, to another node: of the link of each rank of a node
  int64_t window = 0;       ///< for which a rank computes while experts travel, whatever the plan
  bool is_known() const { return token > 0; }
  bool operator==(const PlanBudget&) const = default;
};

/// By the rates of a machine whose nodes have so many ranks.
PlanBudget plan_budget(const Cluster& rates, double ranks_per_node, const LayerWork& work);

}  // namespace enodia
