#pragma once

#include <cstdint>
#include <vector>

namespace enodia {

/// Which node each rank lives on. The ranks of a node follow each other.
class Topology {
 public:
  /// nodes[r] is the node of rank r: dense ids from 0, ascending. Throws UsageError.
  explicit Topology(std::vector<int32_t> nodes);
  static Topology uniform(int num_nodes, int ranks_per_node);

  int num_ranks() const { return static_cast<int>(nodes_.size()); }
  int num_nodes() const { return static_cast<int>(first_ranks_.size()) - 1; }
  int32_t node_of(int rank) const { return nodes_[rank]; }
  /// The ranks of a node are [first_rank(node), first_rank(node + 1)).
  int first_rank(int node) const { return first_ranks_[node]; }

 private:
  std::vector<int32_t> nodes_;
  std::vector<int32_t> first_ranks_;
};

}  // namespace enodia
