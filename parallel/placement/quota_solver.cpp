#include "parallel/placement/quota_solver.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <numeric>
#include <tuple>

namespace enodia {

NodeCounts::NodeCounts(const LayerCounts& counts, const Topology& topology)
    : num_experts_(counts.num_experts),
      tokens_(static_cast<size_t>(topology.num_nodes()) * counts.num_experts, 0) {
  for (int rank = 0; rank < counts.num_ranks(); ++rank) {
    int64_t* const row = tokens_.data() + topology.node_of(rank) * num_experts_;
    const int32_t* const of_rank = counts.tokens.data() + rank * num_experts_;
    for (int expert = 0; expert < num_experts_; ++expert) {
      row[expert] += of_rank[expert];
    }
  }
  of_expert_.assign(num_experts_, 0);
  for (int node = 0; node < topology.num_nodes(); ++node) {
    for (int expert = 0; expert < num_experts_; ++expert) {
      of_expert_[expert] += of(node, expert);
    }
  }
  total_ = std::accumulate(of_expert_.begin(), of_expert_.end(), int64_t{0});
}

QuotaSolver::QuotaSolver(const Topology& topology,
                         std::span<const int32_t> owners,
                         const NodeCounts& counts)
    : topology_(topology),
      owners_(owners),
      counts_(counts) {
  set_replicas(Replicas(owners.size()));
}

void QuotaSolver::set_replicas(const Replicas& replicas) {
  used_.assign(topology_.num_ranks(), 0);
  first_.assign(1, 0);
  ranks_.clear();
  for (size_t expert = 0; expert < owners_.size(); ++expert) {
    const std::vector<int32_t>& more = replicas[expert];
    const auto after = std::lower_bound(more.begin(), more.end(), owners_[expert]);
    ranks_.insert(ranks_.end(), more.begin(), after);
    ranks_.push_back(owners_[expert]);
    ranks_.insert(ranks_.end(), after, more.end());
    first_.push_back(static_cast<int32_t>(ranks_.size()));
    for (const int32_t rank : more) {
      ++used_[rank];
    }
  }
}

void QuotaSolver::add_replica(int expert, int32_t rank) {
  const auto begin = ranks_.begin();
  ranks_.insert(std::lower_bound(begin + first_[expert], begin + first_[expert + 1], rank), rank);
  for (size_t later = expert + 1; later < first_.size(); ++later) {
    ++first_[later];
  }
  ++used_[rank];
}

bool QuotaSolver::is_in_node(int expert, int node) const {
  const auto hosts = hosts_of(expert);
  const auto at = std::lower_bound(hosts.begin(), hosts.end(), topology_.first_rank(node));
  return at != hosts.end() && *at < topology_.first_rank(node + 1);
}

bool QuotaSolver::is_on(int expert, int32_t rank) const {
  const auto hosts = hosts_of(expert);
  return std::binary_search(hosts.begin(), hosts.end(), rank);
}

Replicas QuotaSolver::replicas() const {
  Replicas replicas;
  for (size_t expert = 0; expert < owners_.size(); ++expert) {
    const auto hosts = hosts_of(static_cast<int>(expert));
    std::vector<int32_t>& ranks = replicas.emplace_back();
    std::copy_if(hosts.begin(), hosts.end(), std::back_inserter(ranks), [&](int32_t rank) {
      return rank != owners_[expert];
    });
  }
  return replicas;
}

/// Each cell's tokens on its first host. Experts with one host need no cell: it has all their
/// tokens.
void QuotaSolver::make_cells() {
  cells_.clear();
  shared_cells_.clear();
  shared_experts_.clear();
  cells_of_.assign(owners_.size() * topology_.num_nodes(), -1);
  quotas_.assign(ranks_.size(), 0);
  expert_of_.resize(ranks_.size());
  load_.assign(topology_.num_ranks(), 0);
  const auto give = [&](int32_t host, int64_t tokens) {
    quotas_[host] = tokens;
    load_[ranks_[host]] += tokens;
  };
  for (int32_t expert = 0; expert < std::ssize(owners_); ++expert) {
    const int32_t first = first_[expert];
    const int32_t last = first_[expert + 1];
    std::fill(expert_of_.begin() + first, expert_of_.begin() + last, expert);
    if (last - first == 1) {
      give(first, counts_.of_expert(expert));
      continue;
    }
    shared_experts_.push_back(expert);
    for (int32_t host = first; host < last; ++host) {
      const int node = topology_.node_of(ranks_[host]);
      int32_t& cell = cell_of(expert, node);
      if (cell < 0) {
        cell = static_cast<int32_t>(cells_.size());
        cells_.push_back({expert, host, host + 1, counts_.of(node, expert)});
        give(host, cells_.back().tokens);
      } else if (cells_[cell].last++ == cells_[cell].first + 1) {
        shared_cells_.push_back(cell);
      }
    }
  }
}

void QuotaSolver::list_hosts_of_ranks() {
  first_on_rank_.assign(topology_.num_ranks() + 1, 0);
  for (const int32_t rank : ranks_) {
    ++first_on_rank_[rank + 1];
  }
  std::partial_sum(first_on_rank_.begin(), first_on_rank_.end(), first_on_rank_.begin());
  hosts_on_rank_.resize(ranks_.size());
  order_.assign(first_on_rank_.begin(), first_on_rank_.end() - 1);
  for (int32_t host = 0; host < std::ssize(ranks_); ++host) {
    hosts_on_rank_[order_[ranks_[host]]++] = host;
  }
}

int64_t QuotaSolver::level_two(int32_t one, int32_t other, int64_t tokens) {
  const int64_t below_one = load_[ranks_[one]] - quotas_[one];
  const int64_t below_other = load_[ranks_[other]] - quotas_[other];
  const int64_t quota = std::clamp<int64_t>((tokens + below_other - below_one + 1) / 2, 0, tokens);
  const int64_t moved = std::abs(quota - quotas_[one]) + std::abs(tokens - quota - quotas_[other]);
  quotas_[one] = quota;
  quotas_[other] = tokens - quota;
  load_[ranks_[one]] = below_one + quota;
  load_[ranks_[other]] = below_other + tokens - quota;
  return moved;
}

int64_t QuotaSolver::level(int32_t first, int32_t last, int64_t tokens) {
  if (last - first == 2) {
    return level_two(first, first + 1, tokens);
  }
  filling_.clear();
  for (int32_t host = first; host < last; ++host) {
    filling_.emplace_back(load_[ranks_[host]] - quotas_[host], host);
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
    moved += std::abs(quota - quotas_[host]);
    load_[ranks_[host]] += quota - quotas_[host];
    quotas_[host] = quota;
  }
  return moved;
}

void QuotaSolver::level_cells(int rounds) {
  for (int round = 0; round < rounds; ++round) {
    int64_t moved = 0;
    for (const int32_t cell : shared_cells_) {
      moved += level(cells_[cell].first, cells_[cell].last, cells_[cell].tokens);
    }
    if (moved <= std::ssize(cells_) / 8) {
      return;
    }
  }
}

void QuotaSolver::send_uncovered() {
  for (const int32_t expert : shared_experts_) {
    for (int node = 0; node < topology_.num_nodes(); ++node) {
      const int64_t tokens = counts_.of(node, expert);
      if (tokens == 0 || cell_of(expert, node) >= 0) {
        continue;
      }
      int32_t emptiest = first_[expert];
      for (int32_t host = emptiest + 1; host < first_[expert + 1]; ++host) {
        if (load_[ranks_[host]] < load_[ranks_[emptiest]]) {
          emptiest = host;
        }
      }
      quotas_[emptiest] += tokens;
      load_[ranks_[emptiest]] += tokens;
      cells_[cell_of(expert, topology_.node_of(ranks_[emptiest]))].tokens += tokens;
    }
  }
}

bool QuotaSolver::relieve_host(int32_t host, int64_t goal) {
  const int32_t rank = ranks_[host];
  const int32_t expert = expert_of_[host];
  const int node = topology_.node_of(rank);
  bool any = false;
  for (int32_t other = first_[expert]; other < first_[expert + 1]; ++other) {
    const int there = topology_.node_of(ranks_[other]);
    const int64_t tokens =
        std::min({load_[rank] - goal, goal - load_[ranks_[other]], quotas_[host]});
    if (there != node && tokens > 0) {
      quotas_[host] -= tokens;
      quotas_[other] += tokens;
      load_[rank] -= tokens;
      load_[ranks_[other]] += tokens;
      cells_[cell_of(expert, node)].tokens -= tokens;
      cells_[cell_of(expert, there)].tokens += tokens;
      any = true;
    }
  }
  return any;
}

/// The fullest ranks first.
bool QuotaSolver::relieve(int64_t goal) {
  order_.clear();
  for (int32_t rank = 0; rank < topology_.num_ranks(); ++rank) {
    if (load_[rank] > goal) {
      order_.push_back(rank);
    }
  }
  std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    return std::tie(load_[b], a) < std::tie(load_[a], b);
  });
  bool any = false;
  for (const int32_t rank : order_) {
    for (int32_t i = first_on_rank_[rank]; i < first_on_rank_[rank + 1] && load_[rank] > goal;
         ++i) {
      any = relieve_host(hosts_on_rank_[i], goal) || any;
    }
  }
  return any;
}

void QuotaSolver::level_across_nodes(int64_t goal) {
  constexpr int kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    int64_t moved = 0;
    for (const int32_t expert : shared_experts_) {
      const int32_t first = first_[expert];
      const int32_t last = first_[expert + 1];
      const bool is_hot = std::any_of(ranks_.begin() + first,
                                      ranks_.begin() + last,
                                      [&](int32_t r) { return load_[r] > goal; });
      if (is_hot) {
        moved +=
            level(first,
                  last,
                  std::accumulate(quotas_.begin() + first, quotas_.begin() + last, int64_t{0}));
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
  for (int32_t expert = 0; expert < std::ssize(owners_); ++expert) {
    if (first_[expert + 1] - first_[expert] == 1) {
      inter_node_ +=
          counts_.of_expert(expert) - counts_.of(topology_.node_of(owners_[expert]), expert);
      continue;
    }
    room_.assign(topology_.num_nodes(), 0);
    for (int32_t host = first_[expert]; host < first_[expert + 1]; ++host) {
      room_[topology_.node_of(ranks_[host])] += quotas_[host];
    }
    for (int node = 0; node < topology_.num_nodes(); ++node) {
      inter_node_ += std::max<int64_t>(0, counts_.of(node, expert) - room_[node]);
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
  largest_ = *std::max_element(load_.begin(), load_.end());
  if (largest_ > goal) {
    list_hosts_of_ranks();
    for (int pass = 0; pass < kPasses && relieve(goal); ++pass) {
      level_cells(kRounds / 2);
    }
    largest_ = *std::max_element(load_.begin(), load_.end());
    if (largest_ > goal + goal / 100) {
      level_across_nodes(goal);
    }
  }
  measure();
}

}  // namespace enodia
