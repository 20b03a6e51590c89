#pragma once

#include <span>
#include <vector>

#include "collectives/diagnosis/clock_probe.h"
#include "collectives/diagnosis/finding.h"
#include "collectives/diagnosis/rank_facts.h"

namespace enodia {

/// All functions here are pure; `facts[r]` are those of rank r, which is on node `nodes[r]`.

/// Ranks that run another program, MPI library or kind of processor than rank 0.
std::vector<Finding> judge_agreement(std::span<const RankFacts> facts);

/// Threads and cores: ranks bound to too few cores while others idle, more threads than cores, a
/// container's quota; frequency governor and clock source.
std::vector<Finding> judge_cores(std::span<const RankFacts> facts, std::span<const int> nodes);

/// Shared memory (a rank needs some 4 MB), reading of neighbors' memory, free memory, swap, limits.
std::vector<Finding> judge_memory(std::span<const RankFacts> facts, std::span<const int> nodes);

/// Wall clocks more than 50 ms apart, or that moved against rank 0's by more than 5 ms between two
/// measurements.
std::vector<Finding> judge_clocks(std::span<const ClockOffset> before,
                                  std::span<const ClockOffset> after,
                                  std::span<const RankFacts> facts);

/// Whether large messages between ranks of a node would fail: they may not read each other's
/// memory, and the MPI library has not been told to do without.
bool blocks_shared_memory(const RankFacts& facts);

}  // namespace enodia
