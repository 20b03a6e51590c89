#include "parallel/placement/topology.h"

#include <utility>

#include "common/check.h"

namespace enodia {

Topology::Topology(std::vector<int32_t> nodes) : nodes_(std::move(nodes)) {
  for (size_t rank = 0; rank < nodes_.size(); ++rank) {
    const int32_t next = static_cast<int32_t>(first_ranks_.size());
    ENODIA_CHECK(nodes_[rank] == next || (rank > 0 && nodes_[rank] == next - 1),
                 "rank ",
                 rank,
                 " is on node ",
                 nodes_[rank],
                 ", but the ranks of a node must follow each other, and nodes be numbered from 0");
    if (nodes_[rank] == next) {
      first_ranks_.push_back(static_cast<int32_t>(rank));
    }
  }
  ENODIA_CHECK(!nodes_.empty(), "a topology without ranks");
  first_ranks_.push_back(static_cast<int32_t>(nodes_.size()));
}

Topology Topology::uniform(int num_nodes, int ranks_per_node) {
  std::vector<int32_t> nodes;
  for (int node = 0; node < num_nodes; ++node) {
    nodes.insert(nodes.end(), ranks_per_node, node);
  }
  return Topology(std::move(nodes));
}

}  // namespace enodia
