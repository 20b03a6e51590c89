#include "parallel/placement/replica_search.h"

#include <algorithm>
#include <array>
#include <bit>
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

}  // namespace

int64_t goal_of(const PlanPrices& prices, const NodeCounts& counts, const Topology& topology) {
  return counts.total() * prices.goal / (int64_t{1000} * topology.num_ranks()) + 1;
}

int64_t cost_of(const PlanPrices& prices, const QuotaSolver& solved, int64_t goal, int64_t tokens) {
  const int64_t ranks = solved.num_ranks();
  return prices.straggling * std::max<int64_t>(0, solved.largest_load() - goal) * ranks +
         prices.inter_node * solved.inter_node() +
         prices.replica * solved.num_replicas() * tokens / 1000;
}

namespace {

// In thousandths of a rank's mean: coverage from nearly all experts to none, ranks more or less
// full.
constexpr std::array kThresholds{10, 30, 60, 100, 150, 200, 300, 400, 550, 800, 1200, 9000};
constexpr std::array kLimits{1003, 1020, 1050, 1100};
constexpr int kNoLimitOfSteps = std::numeric_limits<int>::max();

}  // namespace

/// The best plan so far, and what trying another takes.
struct ReplicaSearch::Try {
  Try(const ReplicaSearch& search, const NodeCounts& of)
      : counts(of),
        goal(goal_of(search.prices_, of, search.topology_)),
        mean(std::max<int64_t>(of.total() / search.topology_.num_ranks(), 1)),
        prices(search.prices_),
        solver(search.topology_, search.owners_, of) {}

  bool improves(const Replicas& tried) {
    solver.set_replicas(tried);
    solver.solve(goal);
    const int64_t tried_cost = cost_of(prices, solver, goal, counts.total());
    if (tried_cost >= cost) {
      return false;
    }
    replicas = tried;
    cost = tried_cost;
    return true;
  }
  double cost_of_token() const {
    return static_cast<double>(cost) / static_cast<double>(std::max<int64_t>(counts.total(), 1));
  }

  const NodeCounts& counts;
  int64_t goal, mean;
  const PlanPrices& prices;
  QuotaSolver solver;
  Replicas replicas;
  int64_t cost = std::numeric_limits<int64_t>::max();
  int threshold = 0, limit = 0;  // of the construction that it comes from
};

void ReplicaSearch::construct(Try& best, int threshold, int limit) const {
  if (threshold < 0 || threshold >= std::ssize(kThresholds) || limit < 0 ||
      limit >= std::ssize(kLimits)) {
    return;
  }
  Construction construction(topology_, owners_, slots_, best.counts);
  if (best.improves(
          construction.run(std::max<int64_t>(1, best.mean * kThresholds[threshold] / 1000),
                           best.mean * kLimits[limit] / 1000 + 1))) {
    best.threshold = threshold;
    best.limit = limit;
  }
}

void ReplicaSearch::climb(Try& best, int steps) const {
  for (bool improved = true; improved && steps > 0;) {
    improved = false;
    best.solver.set_replicas(best.replicas);
    best.solver.solve(best.goal);
    const std::vector<Replicas> moves =
        moves_of(topology_, best.solver, slots_, best.counts, best.replicas, best.mean);
    for (size_t i = 0; i < moves.size() && !improved && steps-- > 0; ++i) {
      improved = best.improves(moves[i]);
    }
  }
}

const Replicas& ReplicaSearch::keep(Try& best) {
  last_ = {best.replicas, best.threshold, best.limit, best.cost_of_token()};
  return last_.replicas;
}

const Replicas& ReplicaSearch::search(const NodeCounts& counts) {
  Try best(*this, counts);
  for (int threshold = 0; threshold < std::ssize(kThresholds); ++threshold) {
    for (int limit = 0; limit < std::ssize(kLimits); ++limit) {
      construct(best, threshold, limit);
    }
  }
  climb(best, kNoLimitOfSteps);
  return keep(best);
}

const Replicas& ReplicaSearch::search_near(const NodeCounts& counts) {
  constexpr int kSteps = 24;
  constexpr double kMuchMore = 1.25;
  if (last_.threshold < 0) {
    return search(counts);
  }
  Try best(*this, counts);
  best.threshold = last_.threshold;
  best.limit = last_.limit;
  best.improves(last_.replicas);
  for (const int step : {0, -1, 1}) {
    construct(best, last_.threshold + step, last_.limit);
  }
  construct(best, last_.threshold, last_.limit - 1);
  construct(best, last_.threshold, last_.limit + 1);
  climb(best, kSteps);
  return best.cost_of_token() > kMuchMore * last_.cost ? search(counts) : keep(best);
}

void ReplicaSearch::save(std::vector<int64_t>& saved) const {
  saved.insert(saved.end(), {last_.threshold, last_.limit, std::bit_cast<int64_t>(last_.cost)});
  for (const std::vector<int32_t>& ranks : last_.replicas) {
    saved.push_back(std::ssize(ranks));
    saved.insert(saved.end(), ranks.begin(), ranks.end());
  }
}

ReplicaSearch::Found ReplicaSearch::read(SavedNumbers& saved) const {
  Found found;
  found.threshold = static_cast<int>(saved.next(-1, std::ssize(kThresholds) - 1));
  found.limit = static_cast<int>(saved.next(-1, std::ssize(kLimits) - 1));
  found.cost = std::bit_cast<double>(
      saved.next(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()));
  saved.require(found.cost >= 0);  // a number
  std::vector<int> used(topology_.num_ranks(), 0);
  for (const int32_t owner : owners_) {
    std::vector<int32_t>& ranks = found.replicas.emplace_back();
    int64_t least = 0;
    for (int64_t left = saved.next(0, topology_.num_ranks()); left > 0 && !saved.failed(); --left) {
      ranks.push_back(static_cast<int32_t>(saved.next(least, topology_.num_ranks() - 1)));
      least = ranks.back() + 1;
      saved.require(ranks.back() != owner && ++used[ranks.back()] <= slots_);
    }
  }
  return found;
}

}  // namespace enodia
