#include "parallel/placement/replica_search.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <numeric>
#include <tuple>

#include "parallel/placement/missing_replica.h"

namespace enodia {
namespace {

constexpr int kGapsTried = 8;
constexpr int kPlacesTried = 3;
constexpr int64_t kStepsOfAGap = 1 + kPlacesTried;  // to a free slot, or to one of those places
// Ranks that a step's tokens may spread to: farther ones hardly ever make it pay.
constexpr int kNear = 16;
// A step costs time by the number of experts, more than in proportion.
constexpr int64_t kFewestTries = 6;
constexpr int64_t kTriedExperts = 3200;

// Hosts up to which all constructions are tried: each costs time by their number.
constexpr int64_t kHostsForAll = 512;

// In thousandths of a rank's mean: coverage from nearly all experts to none, ranks more or less
// full.
constexpr std::array kThresholds{10, 30, 60, 100, 150, 200, 300, 400, 550, 800, 1200, 9000};
constexpr std::array kLimits{1003, 1020, 1050, 1100, 1250, 1500, 2000, 3000, 5000};
constexpr size_t kLimitsOfTokens = 4;  // where replicas are cheap beside stragglers

int64_t tries_of(int num_experts) {
  return std::max<int64_t>(kFewestTries, kTriedExperts / num_experts - kFewestTries);
}

}  // namespace

/// Nodes that have many tokens for an expert that they lack, as a replica on the first rank.
void ReplicaSearch::list_gaps() {
  const NodeCounts& counts = solver_.counts();
  // Of fewer tokens than a replica costs.
  const int64_t least =
      least_price_of_replica(prices_, counts.total()) / std::max<int64_t>(prices_.crossing, 1) / 2;
  gaps_.clear();
  for (int node = 0; node < topology_.num_nodes(); ++node) {
    const std::span<const int32_t> tokens = counts.of_node(node);
    for (int expert = 0; expert < counts.num_experts(); ++expert) {
      if (tokens[expert] > least && !solver_.is_in_node(expert, node)) {
        gaps_.push_back({tokens[expert], {expert, topology_.first_rank(node)}});
      }
    }
  }
  const auto more = [](const auto& a, const auto& b) {
    return std::tie(b.first, a.second.expert, a.second.rank) <
           std::tie(a.first, b.second.expert, b.second.rank);
  };
  const size_t tried = std::min<size_t>(gaps_.size(), kGapsTried);
  std::partial_sort(gaps_.begin(), gaps_.begin() + tried, gaps_.end(), more);
  gaps_.resize(tried);
}

/// The replicas of a node that compute least.
void ReplicaSearch::list_least_used(int node) {
  least_used_.clear();
  for (int32_t rank = topology_.first_rank(node); rank < topology_.first_rank(node + 1); ++rank) {
    solver_.each_replica(
        rank, [&](Replica replica, int64_t tokens) { least_used_.emplace_back(tokens, replica); });
  }
  const size_t tried = std::min<size_t>(least_used_.size(), kPlacesTried);
  std::partial_sort(least_used_.begin(),
                    least_used_.begin() + tried,
                    least_used_.end(),
                    [](const auto& a, const auto& b) {
                      return std::tie(a.first, a.second.expert, a.second.rank) <
                             std::tie(b.first, b.second.expert, b.second.rank);
                    });
  least_used_.resize(tried);
}

/// Ranks above the goal before they are relieved: each of their replicas may move to another rank
/// of the node, or change places with one there.
void ReplicaSearch::list_full_ranks() {
  full_.clear();
  num_exchanges_ = 0;
  for (int32_t rank = 0; rank < topology_.num_ranks(); ++rank) {
    if (solver_.load(rank) > solver_.goal()) {
      const int64_t places = places_in(topology_.node_of(rank));
      num_exchanges_ += solver_.num_replicas_on(rank) * places;
      full_.push_back({num_exchanges_, rank, places});
    }
  }
}

/// Where a replica may come to in a node: each rank, and each replica there.
int64_t ReplicaSearch::places_in(int node) const {
  int64_t places = 0;
  for (int32_t rank = topology_.first_rank(node); rank < topology_.first_rank(node + 1); ++rank) {
    places += 1 + solver_.num_replicas_on(rank);
  }
  return places;
}

ReplicaSearch::Step ReplicaSearch::exchange(int64_t index) const {
  const auto full = std::upper_bound(
      full_.begin(), full_.end(), index, [](int64_t i, const FullRank& f) { return i < f.end; });
  const int64_t first = full == full_.begin() ? 0 : std::prev(full)->end;
  const Replica moved = solver_.replica_on(full->rank, (index - first) / full->places);
  int64_t place = (index - first) % full->places;
  const int node = topology_.node_of(full->rank);
  for (int32_t rank = topology_.first_rank(node); rank < topology_.first_rank(node + 1); ++rank) {
    const Replica there{moved.expert, rank};
    if (place == 0) {
      return {{moved}, {there}};
    }
    if (place <= solver_.num_replicas_on(rank)) {
      const Replica other = solver_.replica_on(rank, place - 1);
      return {{moved, other}, {there, Replica{other.expert, full->rank}}};
    }
    place -= 1 + solver_.num_replicas_on(rank);
  }
  return {};
}

/// From a relieved plan: a replica more where a node has many tokens for an expert that it lacks,
/// in a free slot or in the place of one that computes little; one that computes little less.
ReplicaSearch::Step ReplicaSearch::other_step(int64_t index) {
  const int64_t of_gaps = std::ssize(gaps_) * kStepsOfAGap;
  if (index >= of_gaps) {
    list_least_used(static_cast<int>((index - of_gaps) / kPlacesTried));
    const int64_t place = (index - of_gaps) % kPlacesTried;
    return place < std::ssize(least_used_) ? Step{{least_used_[place].second}, {}} : Step{};
  }
  const Replica gap = gaps_[index / kStepsOfAGap].second;
  const int node = topology_.node_of(gap.rank);
  const int64_t place = index % kStepsOfAGap - 1;
  if (place < 0) {
    const int32_t rank = emptiest_free_rank(solver_, topology_, node);
    return rank >= 0 ? Step{{}, {Replica{gap.expert, rank}}} : Step{};
  }
  list_least_used(node);
  if (place >= std::ssize(least_used_)) {
    return {};
  }
  const Replica least = least_used_[place].second;
  return {{least}, {Replica{gap.expert, least.rank}}};
}

int64_t ReplicaSearch::num_other_steps() const {
  return std::ssize(gaps_) * kStepsOfAGap + int64_t{topology_.num_nodes()} * kPlacesTried;
}

/// Whether there is a step, and it can be taken.
bool ReplicaSearch::can(const Step& step) const {
  if (step.gone[0].expert < 0 && step.come[0].expert < 0) {
    return false;
  }
  for (int i = 0; i < 2; ++i) {
    const Replica& gone = step.gone[i];
    const Replica& come = step.come[i];
    const bool has_slot = come.expert < 0 || solver_.has_free_slot(come.rank) ||
                          step.gone[0].rank == come.rank || step.gone[1].rank == come.rank;
    if ((gone.expert >= 0 && !solver_.is_on(gone.expert, gone.rank)) || !has_slot ||
        (come.expert >= 0 && solver_.is_on(come.expert, come.rank))) {
      return false;
    }
  }
  return true;
}

void ReplicaSearch::take(const Step& step) {
  for (const Replica& gone : step.gone) {
    if (gone.expert >= 0) {
      solver_.remove(gone);
    }
  }
  for (const Replica& come : step.come) {
    if (come.expert >= 0) {
      solver_.add(come);
    }
  }
}

int64_t ReplicaSearch::relieved_cost() {
  solver_.relieve();
  return cost_of(prices_, solver_);
}

/// Takes a step from a relieved plan if it pays.
bool ReplicaSearch::try_step(const Step& step, int64_t& cost) {
  const QuotaSolver::Mark before = solver_.mark();
  take(step);
  // What may be left for stragglers; relief hardly ever sends less between nodes.
  const int64_t left = cost - sending_cost_of(prices_, solver_);
  const int64_t most = solver_.goal() + left / (prices_.straggling * solver_.num_ranks());
  if (left > 0 && solver_.relieve(most, kNear)) {
    const int64_t tried = cost_of(prices_, solver_);
    if (tried < cost) {
      cost = tried;
      return true;
    }
  }
  solver_.take_back(before);
  return false;
}

int64_t ReplicaSearch::climb(std::span<const int32_t> owners,
                             const NodeCounts& counts,
                             const Replicas& replicas,
                             int64_t tries,
                             int64_t& tried) {
  const int64_t goal = goal_of(prices_, counts, topology_);
  solver_.start(owners, counts, replicas, goal);
  for (;;) {
    list_full_ranks();
    int64_t cost = relieved_cost();
    bool improved = false;
    const auto missing = [&] { return missing_for(solver_.slowest(), solver_, topology_); };
    for (Replica more = missing(); more.expert >= 0 && tries-- > 0 && try_step({{}, {more}}, cost);
         more = missing()) {
      improved = true;
    }
    improved |= try_steps(tries, tried, cost);
    if (!improved || tries <= 0) {
      return cost;
    }
    // What is relieved step by step is not as good as what is relieved once.
    solver_.copy_replicas(climbed_);
    solver_.start(owners, counts, climbed_, goal);
  }
}

/// Exchanges and others in turns, each at most once; whether one has paid.
bool ReplicaSearch::try_steps(int64_t& tries, int64_t& tried, int64_t& cost) {
  if (tries <= 0) {
    return false;
  }
  list_gaps();
  const std::array<int64_t, 2> steps{num_exchanges_, num_other_steps()};
  bool improved = false;
  int64_t turn = 0;
  for (; tries > 0 && turn < std::max(steps[0], steps[1]); ++turn) {
    for (int kind = 0; kind < 2 && tries > 0; ++kind) {
      if (turn < steps[kind]) {
        const int64_t index = (tried + turn) % steps[kind];
        const Step step = kind == 0 ? exchange(index) : other_step(index);
        if (can(step)) {
          --tries;
          improved |= try_step(step, cost);
        }
      }
    }
  }
  tried += turn;
  return improved;
}

int64_t ReplicaSearch::search(std::span<const int32_t> owners,
                              const NodeCounts& counts,
                              const PlanPrices& prices) {
  prices_ = prices;
  const int64_t goal = goal_of(prices_, counts, topology_);
  const int64_t mean = std::max<int64_t>(counts.total() / topology_.num_ranks(), 1);
  const int64_t hosts = std::ssize(owners) + int64_t{topology_.num_ranks()} * solver_.slots();
  cheapest_.clear(owners.size());
  solver_.start(owners, counts, cheapest_, goal);
  int64_t least = relieved_cost();
  const size_t limits = prices.by_links ? kLimits.size() : kLimitsOfTokens;
  size_t stride = hosts / kHostsForAll + 1;
  while (std::gcd(stride, limits) > 1) {
    ++stride;  // each threshold with another limit, and all limits have their turn
  }
  for (size_t i = 0; i < kThresholds.size() * limits; i += stride) {
    const int64_t threshold = mean * kThresholds[i / limits] / 1000;
    const int64_t limit = mean * kLimits[i % limits] / 1000 + 1;
    construction_.run(owners, counts, std::max<int64_t>(1, threshold), limit, constructed_);
    solver_.start(owners, counts, constructed_, goal);
    const int64_t cost = relieved_cost();
    if (cost < least) {
      least = cost;
      std::swap(cheapest_, constructed_);
    }
  }
  int64_t tried = 0;
  climb(owners, counts, cheapest_, 16 * tries_of(counts.num_experts()), tried);
  solver_.copy_replicas(climbed_);
  solver_.start(owners, counts, climbed_, goal);
  return relieved_cost();
}

/// What the solver holds.
void ReplicaSearch::keep(int64_t cost, FoundReplicas& found) const {
  const int64_t tokens = std::max<int64_t>(solver_.counts().total(), 1);
  found.cost = static_cast<double>(cost) / static_cast<double>(tokens);
  solver_.copy_replicas(found.replicas);
}

void ReplicaSearch::search_near(std::span<const int32_t> owners,
                                const NodeCounts& counts,
                                const PlanPrices& prices,
                                FoundReplicas& found) {
  constexpr double kMuchMore = 1.2;
  prices_ = prices;
  const double before = found.cost;
  if (before >= 0) {
    const int64_t tries = tries_of(counts.num_experts());
    keep(climb(owners, counts, found.replicas, tries, found.tried), found);
  }
  if (before < 0 || found.cost > kMuchMore * before) {
    keep(search(owners, counts, prices), found);
  }
}

void save_found(const FoundReplicas& found, std::vector<int64_t>& saved) {
  saved.insert(saved.end(), {std::bit_cast<int64_t>(found.cost), found.tried});
  for (size_t expert = 0; expert < found.replicas.size(); ++expert) {
    const std::span<const int32_t> ranks = found.replicas[expert];
    saved.push_back(std::ssize(ranks));
    saved.insert(saved.end(), ranks.begin(), ranks.end());
  }
}

FoundReplicas read_found(SavedNumbers& saved,
                         std::span<const int32_t> owners,
                         const QuotaSolver& solver) {
  FoundReplicas found;
  found.cost = std::bit_cast<double>(
      saved.next(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()));
  found.tried = saved.next(0, std::numeric_limits<int64_t>::max() / 2);
  saved.require(found.cost >= 0 || found.cost == -1);  // a number
  std::vector<int> used(solver.num_ranks(), 0);
  for (const int32_t owner : owners) {
    found.replicas.add_row();
    int64_t least = 0;
    for (int64_t left = saved.next(0, solver.num_ranks()); left > 0 && !saved.failed(); --left) {
      const auto rank = static_cast<int32_t>(saved.next(least, solver.num_ranks() - 1));
      if (saved.failed()) {
        break;  // the number is no rank
      }
      saved.require(rank != owner && ++used[rank] <= solver.slots());
      found.replicas.add(rank);
      least = rank + 1;
    }
  }
  return found;
}

}  // namespace enodia
