#pragma once

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
  int64_t replica = 2300;    ///< of a replica, for each thousand tokens of the layer
  /// Tokens of a rank that are as good as the mean, in thousandths of it.
  int64_t goal = 1006;
};

/// The tokens of a rank that a plan should stay below.
int64_t goal_of(const PlanPrices& prices, const NodeCounts& counts, const Topology& topology);
int64_t cost_of(const PlanPrices& prices, const QuotaSolver& solved, int64_t goal, int64_t tokens);

/// Looks for replicas of one layer that make a plan cheap: constructions, each of which brings
/// experts to nodes that have many tokens for them and what overloaded ranks have too much to
/// others, largest first; of these the cheapest; then replicas that come, go or change places, one
/// by one, while that pays. Deterministic: what it finds depends on the counts that it was given,
/// in order. Local.
class ReplicaSearch {
 public:
  /// At most `slots` replicas on a rank. Borrows topology and owners.
  ReplicaSearch(const Topology& topology,
                std::span<const int32_t> owners,
                int slots,
                const PlanPrices& prices)
      : topology_(topology),
        owners_(owners),
        slots_(slots),
        prices_(prices),
        last_{.replicas = Replicas(owners.size())} {}

  /// From nothing: all constructions, and steps until none pays.
  const Replicas& search(const NodeCounts& counts);
  /// Near what was found last: those replicas, constructions like the best one, and few steps.
  /// Searches from nothing when that has become much more expensive, and the first time.
  const Replicas& search_near(const NodeCounts& counts);
  /// What a search has come to, and starts near the next time.
  struct Found {
    Replicas replicas;
    int threshold = -1, limit = -1;  ///< of the construction that it comes from; -1: none yet
    double cost = 0;                 ///< for each token
  };
  const Found& found() const { return last_; }
  void go_on_from(Found found) { last_ = std::move(found); }
  void save(std::vector<int64_t>& saved) const;
  /// Reads what save() wrote.
  Found read(SavedNumbers& saved) const;

 private:
  struct Try;
  void construct(Try& best, int threshold, int limit) const;
  void climb(Try& best, int steps) const;
  const Replicas& keep(Try& best);

  const Topology& topology_;
  std::span<const int32_t> owners_;
  int slots_;
  PlanPrices prices_;
  Found last_;
};

}  // namespace enodia
