#include "parallel/placement/quota_solver.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <tuple>

namespace enodia {

NodeCounts::NodeCounts(const LayerCounts& counts, const Topology& topology)
    : num_experts_(counts.num_experts),
      tokens_(static_cast<size_t>(topology.num_nodes()) * counts.num_experts, 0) {
  for (int rank = 0; rank < counts.num_ranks(); ++rank) {
    int64_t* const row = tokens_.data() + topology.node_of(rank) * num_experts_;
    for (int expert = 0; expert < num_experts_; ++expert) {
      row[expert] += counts.of(rank, expert);
    }
  }
  total_ = std::accumulate(tokens_.begin(), tokens_.end(), int64_t{0});
}

QuotaSolver::QuotaSolver(const Topology& topology,
                         std::span<const int32_t> owners,
                         const NodeCounts& counts)
    : topology_(topology),
      counts_(counts),
      used_(topology.num_ranks(), 0) {
  for (const int32_t owner : owners) {
    hosts_.push_back({owner});
  }
}

void QuotaSolver::set_replicas(const Replicas& replicas) {
  std::fill(used_.begin(), used_.end(), 0);
  num_replicas_ = 0;
  for (size_t expert = 0; expert < hosts_.size(); ++expert) {
    hosts_[expert].resize(1);
    for (const int32_t rank : replicas[expert]) {
      add_replica(static_cast<int>(expert), rank);
    }
  }
}

void QuotaSolver::add_replica(int expert, int32_t rank) {
  hosts_[expert].push_back(rank);
  ++used_[rank];
  ++num_replicas_;
}

bool QuotaSolver::is_in_node(int expert, int node) const {
  return std::any_of(hosts_[expert].begin(), hosts_[expert].end(), [&](int32_t rank) {
    return topology_.node_of(rank) == node;
  });
}

bool QuotaSolver::is_on(int expert, int32_t rank) const {
  return std::find(hosts_[expert].begin(), hosts_[expert].end(), rank) != hosts_[expert].end();
}

Replicas QuotaSolver::replicas() const {
  Replicas replicas;
  for (const std::vector<int32_t>& hosts : hosts_) {
    replicas.emplace_back(hosts.begin() + 1, hosts.end());
    std::sort(replicas.back().begin(), replicas.back().end());
  }
  return replicas;
}

void QuotaSolver::make_cells() {
  const auto experts = static_cast<int>(hosts_.size());
  cells_.clear();
  cell_of_.assign(experts, std::vector<int>(topology_.num_nodes(), -1));
  quotas_.resize(experts);
  load_.assign(topology_.num_ranks(), 0);
  for (int expert = 0; expert < experts; ++expert) {
    quotas_[expert].assign(hosts_[expert].size(), 0);
    for (size_t i = 0; i < hosts_[expert].size(); ++i) {
      const int32_t rank = hosts_[expert][i];
      const int node = topology_.node_of(rank);
      int& cell = cell_of_[expert][node];
      if (cell < 0) {
        cell = static_cast<int>(cells_.size());
        cells_.push_back({expert, node, {}, counts_.of(node, expert)});
        quotas_[expert][i] = cells_.back().tokens;
        load_[rank] += cells_.back().tokens;
      }
      cells_[cell].hosts.push_back(static_cast<int>(i));
    }
  }
}

int64_t QuotaSolver::level(int expert, std::span<const int> hosts, int64_t tokens) {
  std::vector<int64_t>& quotas = quotas_[expert];
  filling_.clear();
  for (const int i : hosts) {
    filling_.emplace_back(load_[hosts_[expert][i]] - quotas[i], i);
  }
  std::sort(filling_.begin(), filling_.end());
  int64_t under = filling_[0].first;  // loads of those that get tokens, and how many they are
  int64_t filled = 1;
  while (filled < std::ssize(filling_) && filled * filling_[filled].first - under < tokens) {
    under += filling_[filled++].first;
  }
  const int64_t surface = (tokens + under) / filled;
  const int64_t rest = tokens + under - surface * filled;
  int64_t moved = 0;
  for (int64_t i = 0; i < std::ssize(filling_); ++i) {
    const auto [below, host] = filling_[i];
    const int64_t quota = i < filled ? surface - below + (i < rest ? 1 : 0) : 0;
    moved += std::abs(quota - quotas[host]);
    load_[hosts_[expert][host]] += quota - quotas[host];
    quotas[host] = quota;
  }
  return moved;
}

void QuotaSolver::level_cells(int rounds) {
  for (int round = 0; round < rounds; ++round) {
    int64_t moved = 0;
    for (const Cell& cell : cells_) {
      if (cell.hosts.size() > 1) {
        moved += level(cell.expert, cell.hosts, cell.tokens);
      }
    }
    if (moved <= std::ssize(cells_) / 8) {
      return;
    }
  }
}

void QuotaSolver::send_uncovered() {
  std::vector<std::tuple<int64_t, int, int>> uncovered;
  for (int expert = 0; expert < counts_.num_experts(); ++expert) {
    for (int node = 0; node < topology_.num_nodes(); ++node) {
      if (cell_of_[expert][node] < 0 && counts_.of(node, expert) > 0) {
        uncovered.emplace_back(-counts_.of(node, expert), expert, node);
      }
    }
  }
  std::sort(uncovered.begin(), uncovered.end());
  for (const auto& [negative, expert, node] : uncovered) {
    const std::vector<int32_t>& hosts = hosts_[expert];
    size_t least = 0;
    for (size_t i = 1; i < hosts.size(); ++i) {
      if (load_[hosts[i]] < load_[hosts[least]]) {
        least = i;
      }
    }
    quotas_[expert][least] -= negative;
    load_[hosts[least]] -= negative;
    cells_[cell_of_[expert][topology_.node_of(hosts[least])]].tokens -= negative;
  }
}

void QuotaSolver::relieve_rank(int32_t rank, int64_t goal, bool& any) {
  const int node = topology_.node_of(rank);
  for (size_t expert = 0; expert < hosts_.size() && load_[rank] > goal; ++expert) {
    const std::vector<int32_t>& hosts = hosts_[expert];
    const auto here = std::find(hosts.begin(), hosts.end(), rank) - hosts.begin();
    if (here == std::ssize(hosts)) {
      continue;
    }
    for (size_t i = 0; i < hosts.size(); ++i) {
      const int other = topology_.node_of(hosts[i]);
      const int64_t tokens =
          std::min({load_[rank] - goal, goal - load_[hosts[i]], quotas_[expert][here]});
      if (other != node && tokens > 0) {
        quotas_[expert][here] -= tokens;
        quotas_[expert][i] += tokens;
        load_[rank] -= tokens;
        load_[hosts[i]] += tokens;
        cells_[cell_of_[expert][node]].tokens -= tokens;
        cells_[cell_of_[expert][other]].tokens += tokens;
        any = true;
      }
    }
  }
}

bool QuotaSolver::relieve(int64_t goal) {
  std::vector<int32_t> order(topology_.num_ranks());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(
      order.begin(), order.end(), [&](int32_t a, int32_t b) { return load_[a] > load_[b]; });
  bool any = false;
  for (const int32_t rank : order) {
    if (load_[rank] > goal) {
      relieve_rank(rank, goal, any);
    }
  }
  return any;
}

void QuotaSolver::level_across_nodes(int64_t goal) {
  constexpr int kRounds = 20;
  std::vector<int> all;
  for (int round = 0; round < kRounds; ++round) {
    int64_t moved = 0;
    for (size_t expert = 0; expert < hosts_.size(); ++expert) {
      const std::vector<int32_t>& hosts = hosts_[expert];
      const bool is_hot =
          std::any_of(hosts.begin(), hosts.end(), [&](int32_t rank) { return load_[rank] > goal; });
      if (hosts.size() > 1 && is_hot) {
        all.resize(hosts.size());
        std::iota(all.begin(), all.end(), 0);
        const int64_t tokens =
            std::accumulate(quotas_[expert].begin(), quotas_[expert].end(), int64_t{0});
        moved += level(static_cast<int>(expert), all, tokens);
      }
    }
    if (moved < 8) {
      return;
    }
  }
}

void QuotaSolver::measure() {
  largest_ = *std::max_element(load_.begin(), load_.end());
  inter_node_ = 0;
  std::vector<int64_t> room(topology_.num_nodes());
  for (size_t expert = 0; expert < hosts_.size(); ++expert) {
    std::fill(room.begin(), room.end(), 0);
    for (size_t i = 0; i < hosts_[expert].size(); ++i) {
      room[topology_.node_of(hosts_[expert][i])] += quotas_[expert][i];
    }
    for (int node = 0; node < topology_.num_nodes(); ++node) {
      inter_node_ += std::max<int64_t>(0, counts_.of(node, static_cast<int>(expert)) - room[node]);
    }
  }
}

void QuotaSolver::solve(int64_t goal) {
  constexpr int kRounds = 12;
  constexpr int kPasses = 4;
  make_cells();
  level_cells(kRounds);
  send_uncovered();
  level_cells(kRounds);
  for (int pass = 0; pass < kPasses && relieve(goal); ++pass) {
    level_cells(kRounds / 2);
  }
  measure();
  if (largest_ > goal + goal / 100) {
    level_across_nodes(goal);
    measure();
  }
}

}  // namespace enodia
