#pragma once

#include <cstdint>
#include <vector>

#include "parallel/placement/layer_plan.h"

namespace enodia {

/// Where the tokens of a step went, exact over all ranks and micro-batches. L MoE layers, E
/// experts, W ranks; all empty for a dense model.
struct StepLoad {
  int64_t first_layer = 0;      ///< the decoder layer of the first MoE layer; the others follow it
  int64_t num_experts = 0;      ///< E
  std::vector<int64_t> tokens;  ///< [L, E] copies of valid tokens for each expert, before drops
  std::vector<int64_t> rows;    ///< [L, W] token copies that each rank computed, valid or not
  std::vector<double> entropy;  ///< [L] of the router's probabilities: nats, mean over valid tokens
  int64_t dropped = 0;          ///< copies of valid tokens that found no room, over all layers
  double replicas = 0;          ///< materialized on all ranks, mean over layers and micro-batches
  uint64_t plan_hash = 0;       ///< of all layers' and micro-batches' plans in this rank's group
  PlanModeCounts plans{};       ///< the same plans by their mode
};

/// How evenly the experts of the MoE layers were loaded in a step: max / mean, averaged over
/// layers; a layer without tokens counts as even.
struct Imbalance {
  double expert = 1.0;  ///< tokens of an expert
  double rank = 1.0;    ///< token copies that a rank computed
};
Imbalance imbalance_of(const StepLoad& load);

/// One MoE layer of a step; loads are relative to the layer's mean. A layer without valid tokens
/// counts as even: nothing in it is dead or hot.
struct LayerLoad {
  int64_t layer = 0;                 ///< of the decoder, from 0
  double p10 = 1, p50 = 1, p90 = 1;  ///< percentiles over experts, linear between two experts
  double max_violation = 0;          ///< max / mean - 1: MaxVio of arXiv 2408.15664
  int64_t dead = 0;                  ///< experts without a valid token
  int64_t hot = 0;                   ///< experts with more than kHotLoad times the mean
  double entropy = 0;                ///< StepLoad::entropy
  double normalized_entropy = 1;     ///< entropy / ln E; 1 when there is but one expert
};
constexpr int64_t kHotLoad = 2;

/// One entry a MoE layer, in order.
std::vector<LayerLoad> summarize(const StepLoad& load);

}  // namespace enodia
