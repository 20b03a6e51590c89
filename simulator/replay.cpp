#include "simulator/replay.h"

#include <algorithm>
#include <numeric>

#include "common/check.h"
#include "common/json.h"
#include "parallel/placement/slot_count.h"

namespace enodia {
namespace {

void check_replicas(const LayerPlan& plan,
                    const Replicas& replicas,
                    int expert,
                    const Topology& topology) {
  const std::span<const int32_t> ranks = replicas[expert];
  const bool ascending =
      std::adjacent_find(ranks.begin(), ranks.end(), std::greater_equal<>()) == ranks.end();
  const bool in_range =
      ranks.empty() || (ranks.front() >= 0 && ranks.back() < topology.num_ranks());
  ENODIA_CHECK(ascending && in_range &&
                   std::find(ranks.begin(), ranks.end(), plan.owners[expert]) == ranks.end(),
               "the replicas of expert ",
               expert,
               " are not ascending ranks besides its owner");
}

using Owners = std::vector<std::vector<int32_t>>;  // [layers][experts]

std::vector<int64_t> experts_owned(const Owners& owners, int num_ranks) {
  std::vector<int64_t> owned(num_ranks, 0);
  for (const std::vector<int32_t>& of_layer : owners) {
    for (const int32_t owner : of_layer) {
      ++owned[owner];
    }
  }
  return owned;
}

/// How many experts of all layers a rank may own: its share, rounded up, or what it began with.
class OwnerLimit {
 public:
  OwnerLimit(const Owners& first, int num_ranks) : limit_(experts_owned(first, num_ranks)) {
    const int64_t experts = std::accumulate(limit_.begin(), limit_.end(), int64_t{0});
    for (int64_t& most : limit_) {
      most = std::max(most, (experts + num_ranks - 1) / num_ranks);
    }
  }
  void check(const Owners& owners) const {
    const std::vector<int64_t> owned = experts_owned(owners, static_cast<int>(limit_.size()));
    for (size_t rank = 0; rank < limit_.size(); ++rank) {
      ENODIA_CHECK(owned[rank] <= limit_[rank],
                   "rank ",
                   rank,
                   " owns ",
                   owned[rank],
                   " experts of all layers, more than ",
                   limit_[rank]);
    }
  }

 private:
  std::vector<int64_t> limit_;  // [ranks]
};

int64_t count_moves(const std::vector<int32_t>& before, const LayerPlan& plan) {
  int64_t moves = 0;
  for (size_t expert = 0; expert < before.size(); ++expert) {
    moves += before[expert] != plan.owners[expert] ? 1 : 0;
  }
  return moves;
}

/// Sums over plans.
class Tally {
 public:
  void add(const LayerPlan& plan, const PlanScore& score, int64_t moves) {
    imbalances_.push_back(score.imbalance);
    tokens_ += score.tokens;
    inter_node_ += score.inter_node;
    transfers_ += plan.transfers + moves * kReplicasAMove;
    moves_ += moves;
  }

  ReplaySummary summary() {
    ReplaySummary summary;
    if (imbalances_.empty()) {
      return summary;
    }
    std::sort(imbalances_.begin(), imbalances_.end());
    const auto plans = static_cast<double>(imbalances_.size());
    summary.plans = std::ssize(imbalances_);
    summary.mean_imbalance = std::accumulate(imbalances_.begin(), imbalances_.end(), 0.0) / plans;
    summary.p95_imbalance = imbalances_[imbalances_.size() * 95 / 100];
    summary.inter_node =
        static_cast<double>(inter_node_) / static_cast<double>(std::max<int64_t>(tokens_, 1));
    summary.transfers = static_cast<double>(transfers_) / plans;
    summary.owner_moves = static_cast<double>(moves_) / plans;
    return summary;
  }

 private:
  std::vector<double> imbalances_;
  int64_t tokens_ = 0, inter_node_ = 0, transfers_ = 0, moves_ = 0;
};

}  // namespace

void check_plan(const LayerPlan& plan, const LayerCounts& counts, const Topology& topology) {
  const auto experts = static_cast<size_t>(counts.num_experts);
  ENODIA_CHECK(plan.owners.size() == experts && plan.predicted.size() == experts &&
                   plan.replicas.size() == experts && plan.quotas.size() == experts,
               "a plan for another number of experts than ",
               experts);
  const std::vector<int64_t> totals = counts.totals();
  for (int expert = 0; expert < counts.num_experts; ++expert) {
    ENODIA_CHECK(plan.owners[expert] >= 0 && plan.owners[expert] < topology.num_ranks());
    check_replicas(plan, plan.predicted, expert, topology);
    check_replicas(plan, plan.replicas, expert, topology);
    const std::span<const int64_t> quotas = plan.quotas[expert];
    ENODIA_CHECK_EQ(quotas.size(), plan.replicas[expert].size() + 1, "quotas of expert ", expert);
    ENODIA_CHECK(std::none_of(quotas.begin(), quotas.end(), [](int64_t n) { return n < 0; }));
    ENODIA_CHECK_EQ(std::accumulate(quotas.begin(), quotas.end(), int64_t{0}),
                    totals[expert],
                    "quotas of expert ",
                    expert,
                    " must sum to its tokens");
  }
}

ReplaySummary replay(const RoutingTrace& trace,
                     const PolicyEntry& policy,
                     const Topology& topology,
                     int extra_slots,
                     const OnPlan& on_plan) {
  ENODIA_CHECK_EQ(trace.num_ranks(), topology.num_ranks(), "ranks of the trace and the topology");
  Owners owners = block_owners(trace.num_layers(), trace.num_experts(), trace.num_ranks());
  const OwnerLimit limit(owners, trace.num_ranks());
  const auto planner =
      policy.make({topology,
                   trace.num_layers(),
                   trace.num_experts(),
                   useful_slots(extra_slots, trace.num_experts(), topology.num_ranks()),
                   owners});
  Tally tally;
  Replicas predicted;
  LayerPlan plan;
  for (int sample = 0; sample < trace.num_samples(); ++sample) {
    for (int layer = 0; layer < trace.num_layers(); ++layer) {
      const LayerCounts counts = trace.at(sample, layer);
      planner->predict(layer, predicted);
      planner->resolve(layer, counts, predicted, plan);
      planner->observe(layer, counts);
      check_plan(plan, counts, topology);
      if (on_plan) {
        on_plan(sample, layer, plan);
      }
      if (sample > 0) {
        tally.add(plan, score_plan(plan, counts, topology), count_moves(owners[layer], plan));
      }
      owners[layer] = plan.owners;
    }
    limit.check(owners);
  }
  return tally.summary();
}

std::string to_json_line(int sample, int layer, const LayerPlan& plan) {
  return Json{{"sample", sample},
              {"layer", layer},
              {"owners", plan.owners},
              {"predicted", plan.predicted.rows()},
              {"replicas", plan.replicas.rows()},
              {"quotas", plan.quotas.rows()}}
      .dump();
}

}  // namespace enodia
