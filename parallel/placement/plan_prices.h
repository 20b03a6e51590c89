#pragma once

#include <algorithm>
#include <cstdint>

#include "parallel/placement/plan_budget.h"
#include "parallel/placement/quota_solver.h"

namespace enodia {

/// What a plan of one layer costs, in thousandths of a token's compute.
struct PlanPrices {
  /// Of a machine and a model that are not known. The fewer slots a rank has, the less level: they
  /// keep tokens in their nodes instead.
  explicit PlanPrices(int slots) : goal(1004 + 16 / std::max(slots, 1)) {}
  /// By what is known of them: time of ranks, and of links as their busiest needs it.
  PlanPrices(const PlanBudget& budget, const Topology& topology);
  /// The same where nothing hides how experts travel.
  PlanPrices in_the_open() const;

  int64_t straggling =
      1500;                ///< of a token that the slowest rank has beyond the goal, for each rank
  int64_t crossing = 500;  ///< of a token that crosses nodes
  int64_t share = 1750;    ///< of a replica, for each thousand tokens of the layer
  int64_t near = 0;        ///< of a replica on its way to a rank
  int64_t away = 0;        ///< of an expert that comes to another node
  /// Of the price of replicas, so much is hidden under what ranks compute: in all, and for each
  /// token of the layer. What is hidden costs from a tenth to half of its price: the more, the
  /// fuller the time is that hides it.
  int64_t hidden = 0, hidden_by_token = 0;
  bool by_links = false;  ///< crossings as if all links had as many as the busiest
  /// Tokens of a rank that are as good as the mean, in thousandths of it.
  int64_t goal;
};

/// The tokens of a rank that a plan should stay below.
int64_t goal_of(const PlanPrices& prices, const NodeCounts& counts, const Topology& topology);
/// Of one replica more, in a node that had none, at the least.
int64_t least_price_of_replica(const PlanPrices& prices, int64_t tokens);
/// Of tokens between nodes and replicas alone.
int64_t sending_cost_of(const PlanPrices& prices, const QuotaSolver& solver);
/// Of what relieve() has come to.
int64_t cost_of(const PlanPrices& prices, const QuotaSolver& relieved);

}  // namespace enodia
