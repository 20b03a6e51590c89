#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "parallel/placement/policy.h"

#include "simulator/routing_trace.h"

namespace enodia {

/// What a new owner of an expert is charged as: with bfloat16 parameters go a master copy and two
/// moments in float32.
constexpr int64_t kReplicasAMove = 7;

/// What the plans of a policy come to on a trace, without its first sample, which nobody can
/// foresee.
struct ReplaySummary {
  double mean_imbalance = 1.0;  ///< of PlanScore::imbalance over samples and layers
  double p95_imbalance = 1.0;
  double inter_node = 0.0;  ///< part of all tokens
  double transfers = 0.0;  ///< replicas that are sent to a rank, mean over plans; a move counts too
  double owner_moves = 0.0;  ///< experts that changed their owner, mean over plans
  int64_t plans = 0;
};

/// Called with each plan, samples ascending, layers ascending inside a sample.
using OnPlan = std::function<void(int sample, int layer, const LayerPlan& plan)>;

/// Plans a trace sample by sample as training would. Owners are those of block_owners to begin
/// with. Pure. Throws UsageError when a plan is not valid (check_plan), or when a rank owns more
/// experts of all layers than its share of them, rounded up, and than at first.
ReplaySummary replay(const RoutingTrace& trace,
                     const PolicyEntry& policy,
                     const Topology& topology,
                     int extra_slots,
                     const OnPlan& on_plan = {});

/// Throws UsageError unless quotas are not negative and sum to the tokens of each expert, and
/// replicas are ascending ranks besides the owner.
void check_plan(const LayerPlan& plan, const LayerCounts& counts, const Topology& topology);

/// One line of --emit-plans: a JSON object without its end of line.
std::string to_json_line(int sample, int layer, const LayerPlan& plan);

}  // namespace enodia
