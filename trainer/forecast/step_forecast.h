#pragma once

#include <cstdint>

#include "common/json.h"
#include "parallel/placement/cost_model.h"
#include "parallel/placement/policy.h"
#include "trainer/config/train_config.h"

#include "simulator/routing_trace.h"

namespace enodia {

/// Seconds of one step, forward and backward of all its micro-batches. Communication counts where
/// ranks would wait for it.
struct StepForecast {
  double attention = 0;  ///< and all that has as much to do on every rank
  double experts = 0;    ///< of the slowest rank of each layer
  double tokens = 0;     ///< to experts and back
  double replicas = 0;   ///< weights out and gradients home, beyond what computation hides
  double gradients = 0;  ///< of dense parameters, beyond what the last backward hides
  double imbalance = 1;  ///< mean of largest / mean token copies of a rank

  double total() const { return attention + experts + tokens + replicas + gradients; }
  Json to_json() const;
};

/// What a step under a policy would take on a cluster, by the plans that the policy makes for
/// recorded routing; mean over its samples but the first, which nobody can foresee. Tokens are as
/// many as the configuration says, spread over experts as in the trace, whose layers are used in
/// turn. Simplifications: ranks meet after each phase; an exchange takes the time of its busiest
/// link; replicas go from their owner to each node once; what was predicted is hidden behind
/// attention and experts, what was not is not. The update takes no time. Local. Throws ConfigError
/// when the trace is for other ranks or experts.
StepForecast forecast_step(const TrainConfig& config,
                           const Cluster& cluster,
                           const RoutingTrace& trace,
                           const PolicyEntry& policy);

/// Routing for a forecast without a recording: three equal samples in which the n-th expert of a
/// layer gets tokens as 1 / n^exponent (0: all alike), the experts in another order in each layer.
RoutingTrace zipf_trace(const TrainConfig& config, int num_ranks, double exponent);

}  // namespace enodia
