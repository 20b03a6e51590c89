#include "parallel/placement/layer_shares.h"

#include <algorithm>
#include <numeric>

namespace enodia {

LayerShares::LayerShares(std::span<const int64_t> tokens,
                         std::span<const int32_t> owners,
                         const Topology& topology)
    : topology_(topology),
      experts_(tokens.size(), 0),
      ranks_(topology.num_ranks(), 0),
      nodes_(topology.num_nodes(), 0) {
  const int64_t total = std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
  for (size_t expert = 0; expert < tokens.size(); ++expert) {
    // In floating point, for tokens times kWhole may be too large; correctly rounded, so the same
    // everywhere.
    experts_[expert] = total > 0 ? static_cast<int64_t>(static_cast<double>(kWhole) *
                                                        static_cast<double>(tokens[expert]) /
                                                        static_cast<double>(total))
                                 : 0;
    ranks_[owners[expert]] += experts_[expert];
    nodes_[topology.node_of(owners[expert])] += experts_[expert];
  }
  find_slowest();
  cost_ = kWhole * of_slowest();
  for (const int64_t share : ranks_) {
    cost_ += share * share;
  }
  for (int node = 0; node < topology.num_nodes(); ++node) {
    cost_ += node_term(node, nodes_[node]);
  }
}

int64_t LayerShares::node_term(int node, int64_t share) const {
  return share * share / (topology_.first_rank(node + 1) - topology_.first_rank(node));
}

int64_t LayerShares::cost_after(int from, int to, int64_t share) const {
  const int64_t less = ranks_[from] - share;
  const int64_t more = ranks_[to] + share;
  int64_t slowest = std::max(less, more);
  for (const int32_t rank : slowest_) {
    if (rank >= 0 && rank != from && rank != to) {
      slowest = std::max(slowest, ranks_[rank]);
      break;
    }
  }
  int64_t cost = cost_ + kWhole * (slowest - of_slowest()) + less * less + more * more -
                 ranks_[from] * ranks_[from] - ranks_[to] * ranks_[to];
  const int out_of = topology_.node_of(from);
  const int into = topology_.node_of(to);
  if (out_of != into) {
    cost += node_term(out_of, nodes_[out_of] - share) - node_term(out_of, nodes_[out_of]) +
            node_term(into, nodes_[into] + share) - node_term(into, nodes_[into]);
  }
  return cost;
}

void LayerShares::move(int from, int to, int64_t share) {
  cost_ = cost_after(from, to, share);
  ranks_[from] -= share;
  ranks_[to] += share;
  nodes_[topology_.node_of(from)] -= share;
  nodes_[topology_.node_of(to)] += share;
  find_slowest();
}

void LayerShares::find_slowest() {
  std::vector<int32_t> order(ranks_.size());
  std::iota(order.begin(), order.end(), 0);
  const size_t found = std::min(order.size(), slowest_.size());
  std::partial_sort(
      order.begin(),
      order.begin() + static_cast<int64_t>(found),
      order.end(),
      [&](int32_t a, int32_t b) { return ranks_[a] != ranks_[b] ? ranks_[a] > ranks_[b] : a < b; });
  slowest_.fill(-1);
  std::copy_n(order.begin(), found, slowest_.begin());
}

}  // namespace enodia
