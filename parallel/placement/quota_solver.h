#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/placement/layer_plan.h"

namespace enodia {

/// Token copies of each expert on each node, [nodes, experts].
class NodeCounts {
 public:
  NodeCounts(const LayerCounts& counts, const Topology& topology);
  int num_nodes() const { return static_cast<int>(tokens_.size()) / num_experts_; }
  int num_experts() const { return num_experts_; }
  int64_t of(int node, int expert) const { return tokens_[node * num_experts_ + expert]; }
  /// Of an expert on all nodes.
  int64_t of_expert(int expert) const { return of_expert_[expert]; }
  int64_t total() const { return total_; }

 private:
  int num_experts_;
  std::vector<int64_t> tokens_, of_expert_;
  int64_t total_ = 0;
};

/// Divides the tokens of each expert over the ranks that hold it: those of a node inside it where
/// it can, so that no rank has more than a goal where that can be. Levels one expert after the
/// other (water-filling, coordinate descent on the sum of squares) until nothing moves. Integers;
/// ties go to the smaller id. Local.
class QuotaSolver {
 public:
  /// Borrows all; without replicas. solve() before anything is asked.
  QuotaSolver(const Topology& topology, std::span<const int32_t> owners, const NodeCounts& counts);

  void set_replicas(const Replicas& replicas);
  void add_replica(int expert, int32_t rank);
  /// Tokens stay in their node unless a rank would have more than `goal`.
  void solve(int64_t goal);

  /// Ranks that hold an expert, ascending, the owner among them.
  std::span<const int32_t> hosts_of(int expert) const {
    return std::span(ranks_).subspan(first_[expert], first_[expert + 1] - first_[expert]);
  }
  /// Tokens of each of them.
  std::span<const int64_t> quotas_of(int expert) const {
    return std::span(quotas_).subspan(first_[expert], first_[expert + 1] - first_[expert]);
  }
  bool is_in_node(int expert, int node) const;
  bool is_on(int expert, int32_t rank) const;
  int num_ranks() const { return topology_.num_ranks(); }
  int32_t owner_of(int expert) const { return owners_[expert]; }
  /// Replicas on a rank.
  int used_slots(int rank) const { return used_[rank]; }
  int num_replicas() const { return static_cast<int>(ranks_.size() - owners_.size()); }
  int64_t load(int rank) const { return load_[rank]; }
  int64_t largest_load() const { return largest_; }
  /// Tokens that cross nodes.
  int64_t inter_node() const { return inter_node_; }
  Replicas replicas() const;

 private:
  /// The hosts of an expert in one node, and the tokens that they share.
  struct Cell {
    int32_t expert;
    int32_t first, last;  // hosts
    int64_t tokens;
  };

  int32_t& cell_of(int expert, int node) {
    return cells_of_[static_cast<size_t>(expert) * topology_.num_nodes() + node];
  }
  void make_cells();
  void list_hosts_of_ranks();
  /// Levels the tokens of the hosts [first, last) of one expert; returns how many moved.
  int64_t level(int32_t first, int32_t last, int64_t tokens);
  int64_t level_two(int32_t one, int32_t other, int64_t tokens);
  void level_cells(int rounds);
  /// Tokens of nodes that do not hold their expert, each to the emptiest host.
  void send_uncovered();
  /// Moves tokens from ranks above the goal to other nodes; whether any moved.
  bool relieve(int64_t goal);
  bool relieve_host(int32_t host, int64_t goal);
  /// Levels experts on ranks above the goal over all their hosts, whatever the node.
  void level_across_nodes(int64_t goal);
  void measure();

  const Topology& topology_;
  std::span<const int32_t> owners_;
  const NodeCounts& counts_;
  // Hosts: expert by expert, ascending by rank.
  std::vector<int32_t> first_;   // [experts + 1]
  std::vector<int32_t> ranks_;   // [hosts]
  std::vector<int64_t> quotas_;  // [hosts]
  std::vector<int> used_;        // [ranks] replicas
  // Of solve(), kept for their memory.
  std::vector<Cell> cells_;
  std::vector<int32_t> cells_of_;        // [experts, nodes], -1 = not held there
  std::vector<int32_t> shared_cells_;    // of several hosts
  std::vector<int32_t> shared_experts_;  // on several ranks
  std::vector<int32_t> expert_of_;       // [hosts]
  std::vector<int32_t> first_on_rank_;   // [ranks + 1]
  std::vector<int32_t> hosts_on_rank_;   // [hosts]
  std::vector<int64_t> load_;            // [ranks]
  std::vector<int32_t> order_;
  std::vector<int64_t> room_;
  std::vector<std::pair<int64_t, int32_t>> filling_;
  int64_t largest_ = 0, inter_node_ = 0;
};

}  // namespace enodia
