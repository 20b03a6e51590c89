#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "parallel/placement/plan_prices.h"
#include "parallel/placement/quota_solver.h"
#include "parallel/placement/replica_construction.h"
#include "parallel/placement/saved_numbers.h"

namespace enodia {

/// What a search has come to in a layer, and starts near the next time.
struct FoundReplicas {
  Replicas replicas;
  double cost = -1;   ///< for each token; negative: none yet
  int64_t tried = 0;  ///< steps: the next search begins behind them
};

/// Looks for replicas that make a plan of a layer cheap: constructions, each of which brings
/// experts to nodes that have many tokens for them and what overloaded ranks have too much to
/// others, largest first; of these the cheapest; then replicas that come, go or change places, one
/// by one, while that pays. Deterministic: what it finds depends on the counts that it was given,
/// in order. No allocation once it has grown. Local.
class ReplicaSearch {
 public:
  /// Borrows both; the solver says how many slots a rank has.
  ReplicaSearch(const Topology& topology, QuotaSolver& solver)
      : topology_(topology),
        prices_(solver.slots()),
        solver_(solver),
        construction_(topology, solver.slots()) {}

  /// From nothing: all constructions, and steps until none pays. Leaves the solver with what it has
  /// come to, relieved; returns the cost.
  int64_t search(std::span<const int32_t> owners,
                 const NodeCounts& counts,
                 const PlanPrices& prices);
  /// Near what was found last: a few steps from there. Searches from nothing when that has become
  /// much more expensive, and the first time.
  void search_near(std::span<const int32_t> owners,
                   const NodeCounts& counts,
                   const PlanPrices& prices,
                   FoundReplicas& found);

 private:
  /// Replicas that go, and others that come.
  struct Step {
    std::array<Replica, 2> gone, come;
  };
  /// From replicas; leaves the solver with others, relieved step by step, and returns their cost.
  /// `tried`: steps so far, of which the next begins behind.
  int64_t climb(std::span<const int32_t> owners,
                const NodeCounts& counts,
                const Replicas& replicas,
                int64_t tries,
                int64_t& tried);
  void keep(int64_t cost, FoundReplicas& found) const;
  bool try_steps(int64_t& tries, int64_t& tried, int64_t& cost);
  bool try_step(const Step& step, int64_t& cost);
  void list_full_ranks();
  int64_t places_in(int node) const;
  Step exchange(int64_t index) const;
  Step other_step(int64_t index);
  int64_t num_other_steps() const;
  void list_gaps();
  void list_least_used(int node);
  bool can(const Step& step) const;
  void take(const Step& step);
  int64_t relieved_cost();

  const Topology& topology_;
  PlanPrices prices_;
  QuotaSolver& solver_;
  ReplicaConstruction construction_;
  /// A rank with its exchanges, which end where the next one's begin.
  struct FullRank {
    int64_t end;
    int32_t rank;
    int64_t places;  ///< exchanges of each of its replicas
  };
  std::vector<FullRank> full_;
  int64_t num_exchanges_ = 0;
  // Kept for their memory.
  Replicas constructed_, cheapest_, climbed_;
  std::vector<std::pair<int64_t, Replica>> gaps_, least_used_;
};

void save_found(const FoundReplicas& found, std::vector<int64_t>& saved);
/// Reads what save_found() wrote of a layer with these owners.
FoundReplicas read_found(SavedNumbers& saved,
                         std::span<const int32_t> owners,
                         const QuotaSolver& solver);

}  // namespace enodia
