#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "simulator/routing_trace.h"

namespace enodia {

/// Made-up routing: few experts have most tokens, the logarithms of their shares wander, each rank
/// draws `tokens` copies.
struct GeneratedTrace {
  int samples = 6;
  int layers = 2;
  int ranks = 8;
  int experts = 16;
  int tokens = 2000;
  /// The i-th expert in order of load has exp(-decay * i) * (i + 1) ^ -zipf of the first one's.
  double decay = 0.35;
  double zipf = 0.0;
  double drift = 0.1;  ///< standard deviation of a logarithm from sample to sample
  double burst = 0.0;  ///< to the logarithm of one expert of a layer, another one each sample
  int shift_at = 0;    ///< the sample from which the order of load is another; 0 = none
  int nodes = 1;
  double home = 0.0;  ///< to the logarithms of experts that a rank's own node has, by block_owners
  uint64_t seed = 1;
};
RoutingTrace generate_trace(const GeneratedTrace& options);

/// A kind of routing by name, for `enodia simulate --preset`.
struct TracePreset {
  std::string_view name;
  std::string_view description;
  GeneratedTrace options;  ///< of no cluster: see on_cluster
};
/// All, in the order of docs/placement.md.
std::span<const TracePreset> trace_presets();
/// Its routing on a cluster, with two experts for each rank.
RoutingTrace on_cluster(const TracePreset& preset, int nodes, int ranks_per_node);

}  // namespace enodia
