#pragma once

#include <cstdint>
#include <span>

#include "parallel/placement/quota_solver.h"

namespace enodia {

/// What a plan of one layer costs, in thousandths of a token's compute.
struct PlanPrices {
  int64_t straggling =
      1500;  ///< of a token that the slowest rank has beyond the goal, for each rank
  int64_t inter_node = 500;  ///< of a token that crosses nodes
  int64_t replica = 2;       ///< of a replica, for each token of the layer
  /// Tokens of a rank that are as good as the mean, in thousandths of it.
  int64_t goal = 1006;
};

/// The tokens of a rank that a plan should stay below.
int64_t goal_of(const PlanPrices& prices, const NodeCounts& counts, const Topology& topology);
int64_t cost_of(const PlanPrices& prices, const QuotaSolver& solved, int64_t goal, int64_t tokens);

/// Looks for replicas of one layer that make a plan cheap: a few constructions, each of which
/// brings experts to nodes that have many tokens for them and what overloaded ranks have too much
/// to others, largest first; of these the cheapest; then single replicas in the slots that are
/// left, while they pay. At most `slots` replicas on a rank. Pure and deterministic. Local.
Replicas search_replicas(const Topology& topology,
                         std::span<const int32_t> owners,
                         int slots,
                         const NodeCounts& counts,
                         const PlanPrices& prices);

}  // namespace enodia
