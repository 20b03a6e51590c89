#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "collectives/communicator.h"
#include "parallel/placement/policy.h"

namespace enodia {

/// What a rank knows of everybody's tokens per expert: enough for plans and dispatch, and no
/// [W, E] gather unless a policy plans by it. N nodes, E experts.
struct ExchangedCounts {
  int num_nodes = 0, num_experts = 0;
  std::vector<int64_t> node_totals;  ///< [N, E]
  std::vector<int64_t> node_rows;    ///< [ranks of this node, E], in rank order
  std::vector<int64_t> rank_rows;    ///< [ranks, E]; empty unless asked for

  /// [E] tokens of each expert in the whole group.
  std::vector<int64_t> totals() const;
  /// Equal on ranks that know the same: of all nodes' totals alone, or with their node's rows.
  enum class Scope : uint8_t { kGroup, kNode };
  uint64_t hash(Scope scope) const;
};

/// Exchanges the tokens per expert of one layer and micro-batch. Inside a node every rank sends its
/// row to every other; between nodes totals cross once per receiving rank, spread over the sending
/// node's ranks, or, with CountsReach::kRanks, every rank's row. `next_plan_hash` rides along: the
/// placement that this rank will use in its next MoE layer. Throws CommError naming two ranks whose
/// hashes differ, or a rank whose counts are absurd. Collective over `group`, whose nodes hold
/// consecutive ranks.
ExchangedCounts exchange_counts(Communicator& group,
                                std::span<const int64_t> my_counts,
                                uint64_t next_plan_hash,
                                CountsReach reach = CountsReach::kNodes);

}  // namespace enodia
