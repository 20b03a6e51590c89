#include "parallel/placement/policies/enodia.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "parallel/placement/replica_search.h"

namespace enodia {
namespace {

constexpr int kPatches = 4;

class EnodiaPolicy : public PlacementPolicy {
 public:
  explicit EnodiaPolicy(const PolicySetup& setup) : setup_(setup) {
    for (const std::vector<int32_t>& owners : setup_.owners) {
      searches_.emplace_back(setup_.topology, owners, setup_.extra_slots, prices_);
    }
  }

  Replicas predict(int layer) const override { return searches_[layer].found().replicas; }

  LayerPlan resolve(int layer, const LayerCounts& counts, const Replicas& predicted) override {
    const std::vector<int32_t>& owners = setup_.owners[layer];
    const NodeCounts exact(counts, setup_.topology);
    const int64_t goal = goal_of(prices_, exact, setup_.topology);
    ++plans_;
    QuotaSolver solver(setup_.topology, owners, exact);
    solver.set_replicas(predicted);
    solver.solve(goal);
    for (int patch = 0; patch < kPatches && add_patch(solver, exact, goal); ++patch) {
    }
    if (solver.largest_load() > goal + goal * kFailed / 1000 &&
        exact_plans_ * 1000 < plans_ * kExactPlans) {
      const int64_t cost = cost_of(prices_, solver, goal, exact.total());
      QuotaSolver anew(setup_.topology, owners, exact);
      anew.set_replicas(searches_[layer].search(exact));
      anew.solve(goal);
      if (cost_of(prices_, anew, goal, exact.total()) + exact.total() * kWorthIt < cost) {
        ++exact_plans_;
        return to_plan(owners, anew, predicted);
      }
    }
    return to_plan(owners, solver, predicted);
  }

  void observe(int layer, const LayerCounts& counts) override {
    searches_[layer].search_near(NodeCounts(counts, setup_.topology));
  }

  std::vector<int64_t> save() const override {
    std::vector<int64_t> saved{plans_, exact_plans_};
    for (const ReplicaSearch& search : searches_) {
      search.save(saved);
    }
    return saved;
  }

  bool restore(std::span<const int64_t> saved) override {
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 1000;
    SavedNumbers numbers(saved);
    const int64_t plans = numbers.next(0, kMost);
    const int64_t exact_plans = numbers.next(0, plans);
    std::vector<ReplicaSearch::Found> found;
    for (const ReplicaSearch& search : searches_) {
      found.push_back(search.read(numbers));
    }
    if (!numbers.complete()) {
      return false;
    }
    plans_ = plans;
    exact_plans_ = exact_plans;
    for (size_t layer = 0; layer < found.size(); ++layer) {
      searches_[layer].go_on_from(std::move(found[layer]));
    }
    return true;
  }

 private:
  // All in thousandths.
  static constexpr int64_t kFailed = 75;         // of the goal: a plan that is worse has failed
  static constexpr int64_t kExactPlans = 290;    // of all plans so far
  static constexpr int64_t kWorthIt = 50;        // of a token, for each token: a plan made anew
  static constexpr int64_t kLateCoverage = 250;  // of the mean: tokens that an expert is sent for

  /// One more replica for the slowest rank, or for a node with many tokens for an expert that it
  /// lacks. False when none is worth it.
  bool add_patch(QuotaSolver& solver, const NodeCounts& exact, int64_t goal) const {
    if (solver.largest_load() <= goal + goal / 50 && solver.inter_node() == 0) {
      return false;
    }
    const int64_t mean = exact.total() / setup_.topology.num_ranks();
    return relieve(solver, goal, mean) || cover(solver, exact, goal, mean);
  }

  bool relieve(QuotaSolver& solver, int64_t goal, int64_t mean) const {
    int32_t slowest = 0;
    for (int32_t rank = 1; rank < setup_.topology.num_ranks(); ++rank) {
      slowest = solver.load(rank) > solver.load(slowest) ? rank : slowest;
    }
    const int64_t excess = solver.load(slowest) - goal;
    auto best = std::tuple(int64_t{0}, 0, int32_t{-1});  // value, expert, rank
    for (int expert = 0; expert < setup_.num_experts; ++expert) {
      const int64_t tokens = tokens_on(solver, expert, slowest);
      for (int32_t rank = 0; tokens > 0 && rank < setup_.topology.num_ranks(); ++rank) {
        if (solver.used_slots(rank) >= setup_.extra_slots || solver.is_on(expert, rank)) {
          continue;
        }
        // A replica in a node that lacks the expert serves that node, too.
        const int node = setup_.topology.node_of(rank);
        const int64_t percent = node == setup_.topology.node_of(slowest) ? 100
                                : solver.is_in_node(expert, node)        ? 90
                                                                         : 105;
        const int64_t value = percent * std::min({tokens, excess, goal - solver.load(rank)});
        if (value > std::get<0>(best)) {
          best = {value, expert, rank};
        }
      }
    }
    if (std::get<0>(best) <= mean) {  // a hundredth of the mean
      return false;
    }
    solver.add_replica(std::get<1>(best), std::get<2>(best));
    solver.solve(goal);
    return true;
  }

  bool cover(QuotaSolver& solver, const NodeCounts& exact, int64_t goal, int64_t mean) const {
    auto best = std::tuple(mean * kLateCoverage / 1000, 0, int32_t{-1});
    for (int expert = 0; expert < setup_.num_experts; ++expert) {
      for (int node = 0; node < setup_.topology.num_nodes(); ++node) {
        if (exact.of(node, expert) > std::get<0>(best) && !solver.is_in_node(expert, node)) {
          const int32_t rank = emptiest_free(solver, node);
          if (rank >= 0) {
            best = {exact.of(node, expert), expert, rank};
          }
        }
      }
    }
    if (std::get<2>(best) < 0) {
      return false;
    }
    solver.add_replica(std::get<1>(best), std::get<2>(best));
    solver.solve(goal);
    return true;
  }

  int32_t emptiest_free(const QuotaSolver& solver, int node) const {
    int32_t best = -1;
    for (int32_t rank = setup_.topology.first_rank(node);
         rank < setup_.topology.first_rank(node + 1);
         ++rank) {
      if (solver.used_slots(rank) < setup_.extra_slots &&
          (best < 0 || solver.load(rank) < solver.load(best))) {
        best = rank;
      }
    }
    return best;
  }

  static int64_t tokens_on(const QuotaSolver& solver, int expert, int32_t rank) {
    const auto hosts = solver.hosts_of(expert);
    const auto at = std::find(hosts.begin(), hosts.end(), rank);
    return at == hosts.end() ? 0 : solver.quotas_of(expert)[at - hosts.begin()];
  }

  static LayerPlan to_plan(const std::vector<int32_t>& owners,
                           const QuotaSolver& solver,
                           const Replicas& predicted) {
    LayerPlan plan;
    plan.owners = owners;
    plan.predicted = predicted;
    plan.replicas = solver.replicas();
    for (size_t expert = 0; expert < owners.size(); ++expert) {
      std::vector<int64_t>& quotas = plan.quotas.emplace_back();
      quotas.push_back(tokens_on(solver, static_cast<int>(expert), owners[expert]));
      for (const int32_t rank : plan.replicas[expert]) {
        quotas.push_back(tokens_on(solver, static_cast<int>(expert), rank));
      }
    }
    plan.transfers = count_transfers(plan);
    return plan;
  }

  PolicySetup setup_;
  PlanPrices prices_;
  std::vector<ReplicaSearch> searches_;  // [layers]
  int64_t plans_ = 0, exact_plans_ = 0;
};

}  // namespace

std::unique_ptr<PlacementPolicy> make_enodia_policy(const PolicySetup& setup) {
  return std::make_unique<EnodiaPolicy>(setup);
}

}  // namespace enodia
