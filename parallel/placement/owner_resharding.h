#pragma once

#include <cstdint>
#include <vector>

#include "parallel/placement/topology.h"

namespace enodia {

/// The rank that owns each expert of each MoE layer: [layers][experts].
using ExpertOwners = std::vector<std::vector<int32_t>>;
/// Tokens of each expert of each MoE layer: [layers][experts].
using ExpertLoads = std::vector<std::vector<int64_t>>;

/// What becomes of the owners.
struct Resharding {
  ExpertOwners owners;
  int64_t moved = 0;  ///< experts with a new owner
  /// The part by which the tokens of each layer's slowest rank fall, summed over the layers, when
  /// experts are computed by their owners alone.
  double gain = 0;
};

/// New owners for a load that is expected to last, heterogeneous layer by layer (after Hecate,
/// arXiv 2502.02581v1, algorithm 2): a rank may own none of a layer and many of another, but owns
/// as many of all layers together as before. Experts change places in pairs, the best pair first,
/// each only for at least `least_gain` of what a rank has of a layer in the mean; and none does
/// unless `gain` comes to `least_gain`. Deterministic: the same on all ranks. Local.
Resharding reshard(const ExpertOwners& present,
                   const ExpertLoads& loads,
                   const Topology& topology,
                   double least_gain);

/// Experts that have another owner.
int64_t count_moved(const ExpertOwners& before, const ExpertOwners& after);

}  // namespace enodia
