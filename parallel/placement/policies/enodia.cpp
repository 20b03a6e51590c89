#include "parallel/placement/policies/enodia.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "parallel/placement/missing_replica.h"
#include "parallel/placement/replica_search.h"

namespace enodia {
namespace {

constexpr int kPatches = 4;

class EnodiaPolicy : public PlacementPolicy {
 public:
  explicit EnodiaPolicy(const PolicySetup& setup)
      : setup_(setup),
        solver_(setup_.topology, setup_.num_experts, setup_.extra_slots),
        counts_(setup_.topology.num_nodes(), setup_.num_experts) {
    for (const std::vector<int32_t>& owners : setup_.owners) {
      searches_.emplace_back(setup_.topology, owners, prices_, solver_);
    }
  }

  Replicas predict(int layer) const override { return searches_[layer].found().replicas; }

  LayerPlan resolve(int layer, const LayerCounts& counts, const Replicas& predicted) override {
    const std::vector<int32_t>& owners = setup_.owners[layer];
    counts_.assign(counts, setup_.topology);
    const int64_t goal = goal_of(prices_, counts_, setup_.topology);
    ++plans_;
    solver_.start(owners, counts_, predicted, goal);
    patch();
    if (solver_.load(solver_.slowest()) > goal + goal * kFailed / 1000 &&
        exact_plans_ * 1000 < plans_ * kExactPlans) {
      const int64_t cost = cost_of(prices_, solver_);
      solver_.copy_replicas(patched_);
      ReplicaSearch anew(setup_.topology, owners, prices_, solver_);
      anew.search(counts_);
      if (cost_of(prices_, solver_) + counts_.total() * kWorthIt < cost) {
        ++exact_plans_;
      } else {
        solver_.start(owners, counts_, patched_, goal);
        solver_.relieve();
      }
    }
    return to_plan(owners, predicted);
  }

  void observe(int layer, const LayerCounts& counts) override {
    counts_.assign(counts, setup_.topology);
    searches_[layer].search_near(counts_);
  }

  /// The next search begins from nothing: other owners make other replicas worth it.
  void set_owners(const std::vector<std::vector<int32_t>>& owners) override {
    for (size_t layer = 0; layer < owners.size(); ++layer) {
      // In place, for the search looks at them.
      std::copy(owners[layer].begin(), owners[layer].end(), setup_.owners[layer].begin());
      ReplicaSearch::Found found = searches_[layer].found();
      for (size_t expert = 0; expert < owners[layer].size(); ++expert) {
        std::erase(found.replicas[expert], owners[layer][expert]);
      }
      found.cost = -1;
      searches_[layer].go_on_from(std::move(found));
    }
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

  /// Relieved, with replicas more where they are worth it.
  void patch() {
    solver_.relieve();
    for (int patches = 0; patches < kPatches; ++patches) {
      const Replica more = missing();
      if (more.expert < 0) {
        return;
      }
      solver_.add(more);
      solver_.relieve();
    }
  }

  /// The replica that a relieved plan lacks most: for the slowest rank, or for a node with many
  /// tokens for an expert that is not there. None when it is good enough.
  Replica missing() const {
    const int64_t goal = solver_.goal();
    const int32_t slowest = solver_.slowest();
    if (solver_.load(slowest) <= goal + goal / 50 && solver_.inter_node() == 0) {
      return {};
    }
    const int64_t mean = counts_.total() / setup_.topology.num_ranks();
    const Replica relief = missing_for_slowest(solver_, setup_.topology);
    return relief.expert >= 0
               ? relief
               : missing_in_node(solver_, setup_.topology, mean * kLateCoverage / 1000);
  }

  LayerPlan to_plan(const std::vector<int32_t>& owners, const Replicas& predicted) const {
    LayerPlan plan;
    plan.owners = owners;
    plan.predicted = predicted;
    solver_.copy_replicas(plan.replicas);
    plan.quotas.resize(owners.size());
    for (size_t expert = 0; expert < owners.size(); ++expert) {
      std::vector<int64_t>& quotas = plan.quotas[expert];
      quotas.reserve(plan.replicas[expert].size() + 1);
      quotas.push_back(0);
      solver_.each_host(static_cast<int>(expert), [&](int32_t rank, int64_t tokens) {
        if (rank == owners[expert]) {
          quotas[0] = tokens;
        } else {
          quotas.push_back(tokens);
        }
      });
    }
    plan.transfers = count_transfers(plan);
    return plan;
  }

  PolicySetup setup_;
  PlanPrices prices_;
  QuotaSolver solver_;
  NodeCounts counts_;
  Replicas patched_;
  std::vector<ReplicaSearch> searches_;  // [layers]
  int64_t plans_ = 0, exact_plans_ = 0;
};

}  // namespace

std::unique_ptr<PlacementPolicy> make_enodia_policy(const PolicySetup& setup) {
  return std::make_unique<EnodiaPolicy>(setup);
}

}  // namespace enodia
