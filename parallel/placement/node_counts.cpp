#include "parallel/placement/node_counts.h"

#include <algorithm>
#include <numeric>

#include "common/vector_clones.h"

namespace enodia {
namespace {

/// Adds rows of counts, [rows, size], to a sum. Four at a time: the sum is what costs, not what is
/// read.
ENODIA_CLONES void add_rows(const int32_t* rows, int num_rows, int size, int32_t* sum) {
  int row = 0;
  for (; row + 4 <= num_rows; row += 4) {
    const int32_t* const a = rows + static_cast<size_t>(row) * size;
    const int32_t* const b = a + size;
    const int32_t* const c = b + size;
    const int32_t* const d = c + size;
    for (int i = 0; i < size; ++i) {
      sum[i] += (a[i] + b[i]) + (c[i] + d[i]);
    }
  }
  for (; row < num_rows; ++row) {
    const int32_t* const a = rows + static_cast<size_t>(row) * size;
    for (int i = 0; i < size; ++i) {
      sum[i] += a[i];
    }
  }
}

/// Adds a row to a sum; returns the total of the row.
ENODIA_CLONES int64_t add_row(const int32_t* row, int size, int64_t* sum) {
  int64_t total = 0;
  for (int i = 0; i < size; ++i) {
    sum[i] += row[i];
    total += row[i];
  }
  return total;
}

}  // namespace

NodeCounts::NodeCounts(int num_nodes, int num_experts)
    : num_experts_(num_experts),
      tokens_(static_cast<size_t>(num_nodes) * num_experts, 0),
      of_expert_(num_experts, 0),
      of_all_(num_nodes, 0) {}

NodeCounts::NodeCounts(const LayerCounts& counts, const Topology& topology)
    : NodeCounts(topology.num_nodes(), counts.num_experts) {
  assign(counts, topology);
}

void NodeCounts::assign(const LayerCounts& counts, const Topology& topology) {
  if (counts.num_rows() == topology.num_nodes()) {
    tokens_.assign(counts.tokens.begin(), counts.tokens.end());
    sum_up();
    return;
  }
  std::fill(tokens_.begin(), tokens_.end(), 0);
  for (int node = 0; node < topology.num_nodes(); ++node) {
    const int first = topology.first_rank(node);
    add_rows(counts.tokens.data() + static_cast<size_t>(first) * num_experts_,
             topology.first_rank(node + 1) - first,
             num_experts_,
             tokens_.data() + static_cast<size_t>(node) * num_experts_);
  }
  sum_up();
}

void NodeCounts::sum_up() {
  std::fill(of_expert_.begin(), of_expert_.end(), 0);
  for (int node = 0; node < num_nodes(); ++node) {
    of_all_[node] = add_row(of_node(node).data(), num_experts_, of_expert_.data());
  }
  total_ = std::accumulate(of_all_.begin(), of_all_.end(), int64_t{0});
}

}  // namespace enodia
