#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "parallel/placement/quota_solver.h"
#include "parallel/placement/saved_numbers.h"

namespace enodia {

/// What a plan of one layer costs, in thousandths of a token's compute.
struct PlanPrices {
  int64_t straggling =
      1500;  ///< of a token that the slowest rank has beyond the goal, for each rank
  int64_t inter_node = 500;  ///< of a token that crosses nodes
  int64_t replica = 1900;    ///< of a replica, for each thousand tokens of the layer
  /// Tokens of a rank that are as good as the mean, in thousandths of it.
  int64_t goal = 1008;
};

/// The tokens of a rank that a plan should stay below.
int64_t goal_of(const PlanPrices& prices, const NodeCounts& counts, const Topology& topology);
/// Of what relieve() has come to.
int64_t cost_of(const PlanPrices& prices, const QuotaSolver& relieved);

/// Looks for replicas of one layer that make a plan cheap: constructions, each of which brings
/// experts to nodes that have many tokens for them and what overloaded ranks have too much to
/// others, largest first; of these the cheapest; then replicas that come, go or change places, one
/// by one, while that pays. Deterministic: what it finds depends on the counts that it was given,
/// in order. Local.
class ReplicaSearch {
 public:
  /// Borrows all; layers may share a solver, which says how many slots a rank has.
  ReplicaSearch(const Topology& topology,
                std::span<const int32_t> owners,
                const PlanPrices& prices,
                QuotaSolver& solver)
      : topology_(topology),
        owners_(owners),
        prices_(prices),
        solver_(solver),
        last_{.replicas = Replicas(owners.size())} {}

  /// From nothing: all constructions, and steps until none pays.
  void search(const NodeCounts& counts);
  /// Near what was found last: a few steps from there. Searches from nothing when that has become
  /// much more expensive, and the first time.
  void search_near(const NodeCounts& counts);
  /// What a search has come to, and starts near the next time.
  struct Found {
    Replicas replicas;
    double cost = -1;   ///< for each token; negative: none yet
    int64_t tried = 0;  ///< steps: the next search begins behind them
  };
  const Found& found() const { return last_; }
  void go_on_from(Found found) { last_ = std::move(found); }
  void save(std::vector<int64_t>& saved) const;
  /// Reads what save() wrote.
  Found read(SavedNumbers& saved) const;

 private:
  /// Replicas that go, and others that come.
  struct Step {
    std::array<Replica, 2> gone, come;
  };
  /// From replicas; returns the cost of those that the solver is left with, relieved.
  int64_t climb(const NodeCounts& counts, const Replicas& replicas, int64_t tries);
  bool try_step(const Step& step, int64_t& cost);
  void list_exchanges();
  void list_steps();
  void list_gaps();
  void list_least_used(int node);
  bool can(const Step& step) const;
  void take(const Step& step);
  int64_t tries() const;
  int64_t relieved_cost();

  const Topology& topology_;
  std::span<const int32_t> owners_;
  PlanPrices prices_;
  QuotaSolver& solver_;
  Found last_;
  // Of climb(), kept for their memory.
  std::vector<Step> steps_;
  Replicas climbed_;
  std::vector<std::pair<int64_t, Replica>> gaps_, least_used_;
};

}  // namespace enodia
