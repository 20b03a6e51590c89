#pragma once

#include "parallel/placement/policy.h"

namespace enodia {

/// Who decides where experts are computed, and what it may use.
struct PlacementOptions {
  const PolicyEntry* policy = nullptr;  ///< null: experts are computed at their homes
  int extra_slots = 0;                  ///< of a rank for one layer, beside the experts it owns
  int stripes = 1;                      ///< ranks that own an expert together
  int64_t reshard_interval = 0;         ///< steps after which owners may move; 0 = never
  double reshard_gain = 0;              ///< Resharding::gain for which they do
  PlanBudget budget = {};
};

}  // namespace enodia
