#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/placement/topology.h"

namespace enodia {

/// Tokens of one expert that one rank sends to one of its replicas.
struct ReplicaShare {
  int32_t replica;  ///< index among the expert's hosts
  int64_t tokens;
  bool operator==(const ReplicaShare&) const = default;
};

/// One expert's replicas and their quotas, and what a rank knows of its tokens.
struct ExpertTokens {
  std::span<const int32_t> hosts;     ///< ranks, ascending
  std::span<const int64_t> quotas;    ///< of each host; they sum to the expert's tokens
  std::span<const int64_t> of_nodes;  ///< [nodes] tokens of the expert on each node
  std::span<const int64_t> of_ranks;  ///< tokens of it on each rank of this rank's node
};

/// Appends to `shares` how the tokens of `rank` are divided among the replicas of an expert, in the
/// order in which its tokens fill them: the replica on the rank itself, then those of its node,
/// then others. All ranks together give each replica its quota, and no token crosses nodes for
/// which its own has room. Each rank computes its own part from sums by nodes and the counts of its
/// own node: what a node's replicas take from other nodes is by their quotas alone, the last ones
/// first. Local.
void split_tokens(const Topology& topology,
                  int rank,
                  const ExpertTokens& tokens,
                  std::vector<ReplicaShare>& shares);

}  // namespace enodia
