#include "parallel/placement/policies/enodia.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "parallel/placement/load_forecast.h"
#include "parallel/placement/missing_replica.h"
#include "parallel/placement/replica_construction.h"
#include "parallel/placement/replica_search.h"

namespace enodia {
namespace {

// Of one layer: the more, the more the slowest rank has too much.
constexpr int64_t kFewestPatches = 4, kFewPatches = 6, kMostPatches = 16;
// Ranks that stage B looks for room on, for each that has too much: all ranks wait for it.
constexpr int kReach = 32;

Replicas without_owners(const Replicas& replicas, std::span<const int32_t> owners) {
  Replicas left;
  for (size_t expert = 0; expert < owners.size(); ++expert) {
    left.add_row();
    for (const int32_t rank : replicas[expert]) {
      if (rank != owners[expert]) {
        left.add(rank);
      }
    }
  }
  return left;
}

class EnodiaPolicy : public PlacementPolicy {
 public:
  explicit EnodiaPolicy(const PolicySetup& setup)
      : setup_(setup),
        prices_(setup.budget.is_known() ? PlanPrices(setup.budget, setup.topology)
                                        : PlanPrices(setup.extra_slots)),
        late_prices_(prices_.in_the_open()),
        solver_(setup_.topology, setup_.num_experts, setup_.extra_slots),
        search_(setup_.topology, solver_),
        construction_(setup_.topology, setup_.extra_slots),
        counts_(setup_.topology.num_nodes(), setup_.num_experts),
        forecasts_(setup.num_layers, {setup_.topology.num_nodes(), setup_.num_experts}),
        found_(setup.num_layers, {.replicas = Replicas(setup.num_experts)}) {}

  void predict(int layer, Replicas& replicas) const override { replicas = found_[layer].replicas; }

  void resolve(int layer,
               const LayerCounts& counts,
               const Replicas& predicted,
               LayerPlan& plan) override {
    const std::vector<int32_t>& owners = setup_.owners[layer];
    counts_.assign(counts, setup_.topology);
    const int64_t goal = goal_of(prices_, counts_, setup_.topology);
    ++plans_;
    solver_.start(owners, counts_, predicted, goal);
    patch();
    bool exact = false;
    if (is_one_node()) {
      exact = construct_anew(owners, goal, !predicted.values().empty());
      level();
    } else {
      exact = search_anew(owners, goal);
    }
    write(owners, predicted, plan);
    plan.exact = exact;
  }

  void observe(int layer, const LayerCounts& counts) override {
    counts_.assign(counts, setup_.topology);
    forecasts_[layer].observe(counts_);
    forecasts_[layer].foretell(counts_);
    search_.search_near(
        setup_.owners[layer], counts_, prices_ahead(forecasts_[layer]), found_[layer]);
  }

  /// The next search begins from nothing: other owners make other replicas worth it.
  void set_owners(const std::vector<std::vector<int32_t>>& owners) override {
    setup_.owners = owners;
    for (size_t layer = 0; layer < owners.size(); ++layer) {
      found_[layer].replicas = without_owners(found_[layer].replicas, owners[layer]);
      found_[layer].cost = -1;
    }
  }

  std::vector<int64_t> save() const override {
    std::vector<int64_t> saved{plans_, exact_plans_};
    for (const FoundReplicas& found : found_) {
      save_found(found, saved);
    }
    for (const LoadForecast& forecast : forecasts_) {
      forecast.save(saved);
    }
    return saved;
  }

  bool restore(std::span<const int64_t> saved) override {
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 1000;
    SavedNumbers numbers(saved);
    const int64_t plans = numbers.next(0, kMost);
    const int64_t exact_plans = numbers.next(0, plans);
    std::vector<FoundReplicas> found;
    for (const std::vector<int32_t>& owners : setup_.owners) {
      found.push_back(read_found(numbers, owners, solver_));
    }
    std::vector<LoadForecast> forecasts = forecasts_;
    for (LoadForecast& forecast : forecasts) {
      forecast.read(numbers);
    }
    if (!numbers.complete()) {
      return false;
    }
    plans_ = plans;
    exact_plans_ = exact_plans;
    found_ = std::move(found);
    forecasts_ = std::move(forecasts);
    return true;
  }

 private:
  // All in thousandths.
  static constexpr int64_t kFailed = 180;       // of the goal: a plan that is worse has failed
  static constexpr int64_t kMuch = 50;          // of the goal, above it
  static constexpr int64_t kGoodEnough = 20;    // of the goal: a plan that is no worse
  static constexpr int64_t kFailedBadly = 540;  // of the goal
  static constexpr int64_t kExactPlans = 100;  // of all plans so far, half of them for bad failures
  static constexpr int64_t kWorthIt = 50;      // of a token, for each token: a plan made anew
  // Of all tokens: what a forecast may miss in one node, and all ranks of it together.
  static constexpr int64_t kSure = 50, kSureOfRanks = 400;
  static constexpr int64_t kLateCoverage = 250;  // of the mean: tokens that an expert is sent for

  /// Of stage A: no finer than the forecast is, and stage B does the rest. In one node no token has
  /// far to go, and replicas only level: there none is worth it before the gate that may not be
  /// needed after it.
  PlanPrices prices_ahead(const LoadForecast& forecast) const {
    PlanPrices prices = prices_;
    const int64_t missed = forecast.missed_of_late();
    const int64_t ranks = setup_.topology.num_ranks();
    if (is_one_node() && !setup_.budget.is_known()) {
      prices.share = 6000;
      prices.goal = forecast.is_tried() && missed <= std::min(kSure, kSureOfRanks / ranks)
                        ? 1035 + missed * 9 / 4
                        : int64_t{1000} * ranks;  // however full a rank is
    } else {
      prices.goal += std::clamp<int64_t>(missed - 100, 0, 200);
    }
    return prices;
  }

  /// A plan from nothing in place of one that has failed, where it is cheaper; whether it is.
  bool search_anew(const std::vector<int32_t>& owners, int64_t goal) {
    if (!is_worth_an_exact_plan()) {
      return false;
    }
    const int64_t cost = cost_of(late_prices_, solver_);
    solver_.copy_replicas(patched_);
    if (search_.search(owners, counts_, late_prices_) + counts_.total() * kWorthIt < cost) {
      ++exact_plans_;
      return true;
    }
    solver_.start(owners, counts_, patched_, goal);
    relieve();
    return false;
  }

  /// Whether the plan has failed, and exact ones are few enough so far.
  bool is_worth_an_exact_plan() const {
    const int64_t excess = excess_of(solver_.slowest()) * 1000;
    const int64_t allowed = excess > solver_.goal() * kFailedBadly ? kExactPlans : kExactPlans / 2;
    return excess > solver_.goal() * kFailed && (exact_plans_ + 1) * 1000 <= plans_ * allowed;
  }

  /// The same in one node, where one construction does it, which is then patched.
  bool construct_anew(const std::vector<int32_t>& owners, int64_t goal, bool is_foretold) {
    const int64_t allowed = is_foretold ? kFailed : kGoodEnough;
    if (excess_of(solver_.slowest()) * 1000 <= goal * allowed) {
      return false;
    }
    const int64_t cost = cost_of(late_prices_, solver_);
    solver_.copy_replicas(patched_);
    constexpr int64_t kNoThreshold = std::numeric_limits<int64_t>::max();
    construction_.run(owners, counts_, kNoThreshold, goal, constructed_);
    solver_.start(owners, counts_, constructed_, goal);
    relieve();
    const bool is_cheaper = cost_of(late_prices_, solver_) < cost;
    if (!is_cheaper) {
      solver_.start(owners, counts_, patched_, goal);
    }
    patch();
    return is_cheaper && is_foretold;
  }

  /// Of most first: where a rank cannot have less, what others have above the goal delays nobody.
  void relieve() {
    constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
    const int64_t most = solver_.goal() + solver_.goal() * kMuch / 1000;
    if (solver_.relieve_above(most, kAny, kReach) <= most) {
      solver_.relieve(kAny, kReach);
    }
  }

  /// Relieved, then with replicas more, as far as they are worth it together, for where several
  /// ranks are equally slow one alone gains nothing; relieved once more if that is cheapest.
  void patch() {
    relieve();
    int64_t least = cost_of(late_prices_, solver_);
    QuotaSolver::Mark best = solver_.mark();
    const auto keep_if_cheaper = [&] {
      const int64_t cost = cost_of(late_prices_, solver_);
      if (cost < least) {
        least = cost;
        best = solver_.mark();
      }
    };
    const int64_t most = most_patches();
    // In one node a few are each relieved: then one serves all ranks that share experts with the
    // slowest. On several nodes that gains nothing that would be worth its time.
    const bool relieves_each = is_one_node() && most <= kFewPatches;
    int64_t patches = 0;
    for (; patches < most && change(); ++patches) {
      if (relieves_each) {
        relieve();
      }
      keep_if_cheaper();
    }
    if (patches > 0) {
      relieve();
      keep_if_cheaper();
      solver_.take_back(best);
    }
  }

  /// What is left above the mean: in one node no token goes farther for it.
  void level() {
    const int64_t ranks = setup_.topology.num_ranks();
    solver_.set_goal((counts_.total() + ranks - 1) / ranks);
    relieve();
  }

  bool is_one_node() const { return setup_.topology.num_nodes() == 1; }

  int64_t excess_of(int32_t rank) const { return solver_.load(rank) - solver_.goal(); }

  bool is_good_enough(int32_t slowest) const {
    return excess_of(slowest) <= solver_.goal() * kGoodEnough / 1000;
  }

  int64_t most_patches() const {
    const int64_t above = excess_of(solver_.slowest()) * 1000 / solver_.goal();
    return std::clamp(above / kGoodEnough, kFewestPatches, kMostPatches);
  }

  /// The replica that is missing most, or one in the place of another, with what the slowest rank
  /// has too much; false when there is none.
  bool change() {
    const int32_t slowest = solver_.slowest();
    Replica come = missing(slowest);
    if (come.expert < 0) {
      if (is_good_enough(slowest)) {
        return false;
      }
      Replica gone;
      std::tie(gone, come) = exchange_for(slowest, solver_, setup_.topology);
      if (come.expert < 0) {
        return false;
      }
      solver_.remove(gone);
    }
    solver_.add(come);
    if (solver_.is_on(come.expert, slowest)) {
      solver_.take_over(come, slowest);
    }
    return true;
  }

  /// The replica that the plan lacks most: for the slowest rank, or for a node with many
  /// tokens for an expert that is not there. None when it is good enough.
  Replica missing(int32_t slowest) const {
    if (is_good_enough(slowest) && solver_.inter_node() == 0) {
      return {};
    }
    const int64_t mean = counts_.total() / setup_.topology.num_ranks();
    const Replica relief = missing_for(slowest, solver_, setup_.topology);
    return relief.expert >= 0
               ? relief
               : missing_in_node(solver_, setup_.topology, mean * kLateCoverage / 1000);
  }

  void write(const std::vector<int32_t>& owners, const Replicas& predicted, LayerPlan& plan) const {
    plan.owners = owners;
    plan.predicted = predicted;
    plan.replicas.clear();
    plan.quotas.clear();
    for (size_t expert = 0; expert < owners.size(); ++expert) {
      plan.replicas.add_row();
      plan.quotas.add_row();
      if (!solver_.is_shared(static_cast<int>(expert))) {
        plan.quotas.add(counts_.of_expert(static_cast<int>(expert)));
        continue;
      }
      plan.quotas.add(0);
      solver_.each_host(static_cast<int>(expert), [&](int32_t rank, int64_t tokens) {
        if (rank == owners[expert]) {
          plan.quotas[expert][0] = tokens;
        } else {
          plan.replicas.add(rank);
          plan.quotas.add(tokens);
        }
      });
    }
    plan.transfers = count_transfers(plan);
  }

  PolicySetup setup_;
  PlanPrices prices_;
  PlanPrices late_prices_;  // of what is planned when the tokens are there
  QuotaSolver solver_;
  ReplicaSearch search_;
  ReplicaConstruction construction_;
  NodeCounts counts_;
  Replicas patched_, constructed_;
  std::vector<LoadForecast> forecasts_;  // [layers]
  std::vector<FoundReplicas> found_;     // [layers]
  int64_t plans_ = 0, exact_plans_ = 0;
};

}  // namespace

std::unique_ptr<PlacementPolicy> make_enodia_policy(const PolicySetup& setup) {
  return std::make_unique<EnodiaPolicy>(setup);
}

}  // namespace enodia
