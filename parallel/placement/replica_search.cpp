#include "parallel/placement/replica_search.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <queue>
#include <tuple>

namespace enodia {
namespace {

/// Tokens of an expert that a node is to compute and that have no rank yet.
struct Parcel {
  int64_t tokens;
  int expert;
  int node;
  bool is_excess;  ///< of a rank that owns the expert
  bool operator<(const Parcel& other) const {
    return std::tie(tokens, other.expert, other.node) < std::tie(other.tokens, expert, node);
  }
};

/// Replicas by greed: parcels, the largest first, go to the emptiest rank of their node.
class Construction {
 public:
  Construction(const Topology& topology,
               std::span<const int32_t> owners,
               int slots,
               const NodeCounts& counts)
      : topology_(topology),
        owners_(owners),
        counts_(counts),
        free_(topology.num_ranks(), slots),
        load_(topology.num_ranks(), 0),
        replicas_(owners.size()) {}

  /// An expert comes to a node that has `threshold` tokens for it; ranks are filled up to `limit`.
  Replicas run(int64_t threshold, int64_t limit) {
    assign_to_nodes(threshold);
    export_excess(limit);
    while (!parcels_.empty()) {
      Parcel parcel = parcels_.top();
      parcels_.pop();
      if (place(parcel, limit) && parcel.tokens > 0) {
        parcels_.push(parcel);
      }
    }
    for (std::vector<int32_t>& ranks : replicas_) {
      std::sort(ranks.begin(), ranks.end());
    }
    return std::move(replicas_);
  }

 private:
  /// Tokens stay in their node if the expert comes there, else they go to the owner's.
  void assign_to_nodes(int64_t threshold) {
    demand_.assign(owners_.size() * topology_.num_nodes(), 0);
    for (size_t expert = 0; expert < owners_.size(); ++expert) {
      const int home = topology_.node_of(owners_[expert]);
      for (int node = 0; node < topology_.num_nodes(); ++node) {
        const int64_t tokens = counts_.of(node, static_cast<int>(expert));
        const bool comes = node != home && tokens >= threshold;
        demand(expert, comes ? node : home) += tokens;
        if (comes) {
          parcels_.push({tokens, static_cast<int>(expert), node, false});
        }
      }
      load_[owners_[expert]] += demand(expert, home);
    }
  }

  /// Of the experts of an overloaded rank those with the most tokens give.
  void export_excess(int64_t limit) {
    std::vector<int> order(owners_.size());
    for (size_t i = 0; i < order.size(); ++i) {
      order[i] = static_cast<int>(i);
    }
    const auto at_home = [&](int expert) {
      return demand(expert, topology_.node_of(owners_[expert]));
    };
    std::stable_sort(
        order.begin(), order.end(), [&](int a, int b) { return at_home(a) > at_home(b); });
    for (const int expert : order) {
      const int32_t owner = owners_[expert];
      const int64_t tokens = std::min(load_[owner] - limit, at_home(expert));
      if (tokens > 0) {
        load_[owner] -= tokens;
        parcels_.push({tokens, expert, topology_.node_of(owner), true});
      }
    }
  }

  /// Takes what fits from the parcel; false when there is no rank for it.
  bool place(Parcel& parcel, int64_t limit) {
    int32_t rank = emptiest(
        parcel, topology_.first_rank(parcel.node), topology_.first_rank(parcel.node + 1), limit);
    if (rank < 0 && parcel.is_excess) {
      rank = emptiest(parcel, 0, topology_.num_ranks(), limit);
    }
    if (rank < 0) {
      load_[owners_[parcel.expert]] += parcel.tokens;
      return false;
    }
    if (!is_on(parcel.expert, rank)) {
      replicas_[parcel.expert].push_back(rank);
      --free_[rank];
    }
    const int64_t tokens = std::min(parcel.tokens, limit - load_[rank]);
    load_[rank] += tokens;
    parcel.tokens -= tokens;
    return true;
  }

  int32_t emptiest(const Parcel& parcel, int32_t first, int32_t last, int64_t limit) const {
    int32_t best = -1;
    for (int32_t rank = first; rank < last; ++rank) {
      const bool can = load_[rank] < limit && (free_[rank] > 0 || is_on(parcel.expert, rank));
      if (can && (best < 0 || load_[rank] < load_[best])) {
        best = rank;
      }
    }
    return best;
  }

  bool is_on(int expert, int32_t rank) const {
    const std::vector<int32_t>& ranks = replicas_[expert];
    return owners_[expert] == rank || std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
  }

  int64_t& demand(size_t expert, int node) {
    return demand_[expert * topology_.num_nodes() + node];
  }

  const Topology& topology_;
  std::span<const int32_t> owners_;
  const NodeCounts& counts_;
  std::vector<int> free_;
  std::vector<int64_t> load_;
  std::vector<int64_t> demand_;  // [experts, nodes]
  Replicas replicas_;
  std::priority_queue<Parcel> parcels_;
};

/// A node that lacks an expert, by the tokens that it has for it.
struct Gap {
  int64_t tokens;
  int expert;
  int node;
};

std::vector<Gap> gaps_of(const QuotaSolver& solved, const NodeCounts& counts, int64_t least) {
  std::vector<Gap> gaps;
  for (int expert = 0; expert < counts.num_experts(); ++expert) {
    for (int node = 0; node < counts.num_nodes(); ++node) {
      if (counts.of(node, expert) > least && !solved.is_in_node(expert, node)) {
        gaps.push_back({counts.of(node, expert), expert, node});
      }
    }
  }
  std::stable_sort(
      gaps.begin(), gaps.end(), [](const Gap& a, const Gap& b) { return a.tokens > b.tokens; });
  return gaps;
}

/// The emptiest rank of a node with a free slot, -1 for none.
int32_t free_rank(const Topology& topology, const QuotaSolver& solved, int node, int slots) {
  int32_t best = -1;
  for (int32_t rank = topology.first_rank(node); rank < topology.first_rank(node + 1); ++rank) {
    if (solved.used_slots(rank) < slots && (best < 0 || solved.load(rank) < solved.load(best))) {
      best = rank;
    }
  }
  return best;
}

/// The replicas of a node that compute least, as (tokens, expert, rank).
std::vector<std::tuple<int64_t, int, int32_t>> least_used(const Topology& topology,
                                                          const QuotaSolver& solved,
                                                          int node,
                                                          int experts) {
  std::vector<std::tuple<int64_t, int, int32_t>> used;
  for (int expert = 0; expert < experts; ++expert) {
    const auto hosts = solved.hosts_of(expert);
    for (size_t i = 0; i < hosts.size(); ++i) {
      if (topology.node_of(hosts[i]) == node && hosts[i] != solved.owner_of(expert)) {
        used.emplace_back(solved.quotas_of(expert)[i], expert, hosts[i]);
      }
    }
  }
  std::sort(used.begin(), used.end());
  return used;
}

/// Neighbors of a solved plan: a replica more where a node has many tokens for an expert that it
/// lacks, in a free slot or in the place of one that computes little; and one that computes little
/// less.
std::vector<Replicas> moves_of(const Topology& topology,
                               const QuotaSolver& solved,
                               int slots,
                               const NodeCounts& counts,
                               const Replicas& replicas,
                               int64_t mean) {
  constexpr int kGapsTried = 8;
  constexpr int kPlacesTried = 3;
  std::vector<Replicas> moves;
  const auto without = [&](Replicas from, int expert, int32_t rank) {
    std::erase(from[expert], rank);
    return from;
  };
  const auto with = [&](Replicas to, int expert, int32_t rank) {
    std::vector<int32_t>& ranks = to[expert];
    ranks.insert(std::upper_bound(ranks.begin(), ranks.end(), rank), rank);
    return to;
  };
  int tried = 0;
  for (const Gap& gap : gaps_of(solved, counts, mean / 100)) {
    if (tried++ == kGapsTried) {
      break;
    }
    const int32_t rank = free_rank(topology, solved, gap.node, slots);
    if (rank >= 0) {
      moves.push_back(with(replicas, gap.expert, rank));
    }
    const auto used = least_used(topology, solved, gap.node, counts.num_experts());
    for (size_t i = 0; i < used.size() && i < kPlacesTried; ++i) {
      const auto [tokens, expert, place] = used[i];
      moves.push_back(with(without(replicas, expert, place), gap.expert, place));
    }
  }
  for (int node = 0; node < topology.num_nodes(); ++node) {
    const auto used = least_used(topology, solved, node, counts.num_experts());
    for (size_t i = 0; i < used.size() && i < kPlacesTried; ++i) {
      moves.push_back(without(replicas, std::get<1>(used[i]), std::get<2>(used[i])));
    }
  }
  return moves;
}

/// The best plan so far.
struct Best {
  Replicas replicas;
  int64_t cost = std::numeric_limits<int64_t>::max();
};

}  // namespace

int64_t goal_of(const PlanPrices& prices, const NodeCounts& counts, const Topology& topology) {
  return counts.total() * prices.goal / (int64_t{1000} * topology.num_ranks()) + 1;
}

int64_t cost_of(const PlanPrices& prices, const QuotaSolver& solved, int64_t goal, int64_t tokens) {
  const int64_t ranks = solved.num_ranks();
  return prices.straggling * std::max<int64_t>(0, solved.largest_load() - goal) * ranks +
         prices.inter_node * solved.inter_node() + prices.replica * solved.num_replicas() * tokens;
}

Replicas search_replicas(const Topology& topology,
                         std::span<const int32_t> owners,
                         int slots,
                         const NodeCounts& counts,
                         const PlanPrices& prices) {
  // In thousandths of a rank's mean: coverage from nearly all experts to none, ranks more or less
  // full.
  constexpr std::array kThresholds{10, 30, 60, 100, 150, 200, 300, 400, 550, 800, 1200, 9000};
  constexpr std::array kLimits{1003, 1020, 1050, 1100};
  const int64_t goal = goal_of(prices, counts, topology);
  const int64_t mean = std::max<int64_t>(counts.total() / topology.num_ranks(), 1);
  QuotaSolver solver(topology, owners, counts);
  Best best;
  const auto try_replicas = [&](const Replicas& replicas) {
    solver.set_replicas(replicas);
    solver.solve(goal);
    const int64_t cost = cost_of(prices, solver, goal, counts.total());
    const bool is_better = cost < best.cost;
    if (is_better) {
      best = {replicas, cost};
    }
    return is_better;
  };
  for (const int threshold : kThresholds) {
    for (const int limit : kLimits) {
      try_replicas(
          Construction(topology, owners, slots, counts)
              .run(std::max<int64_t>(1, mean * threshold / 1000), mean * limit / 1000 + 1));
    }
  }
  for (bool improved = true; improved;) {
    improved = false;
    solver.set_replicas(best.replicas);
    solver.solve(goal);
    for (const Replicas& moved : moves_of(topology, solver, slots, counts, best.replicas, mean)) {
      if (try_replicas(moved)) {
        improved = true;
        break;
      }
    }
  }
  return best.replicas;
}

}  // namespace enodia
