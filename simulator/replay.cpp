#include "simulator/replay.h"

#include <algorithm>
#include <numeric>

#include "common/check.h"
#include "common/json.h"

namespace enodia {
namespace {

void check_replicas(const LayerPlan& plan,
                    const Replicas& replicas,
                    int expert,
                    const Topology& topology) {
  const std::vector<int32_t>& ranks = replicas[expert];
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
    const std::vector<int64_t>& quotas = plan.quotas[expert];
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
  const auto planner =
      policy.make({topology,
                   trace.num_layers(),
                   trace.num_experts(),
                   extra_slots,
                   block_owners(trace.num_layers(), trace.num_experts(), trace.num_ranks())});
  ReplaySummary summary;
  std::vector<double> imbalances;
  int64_t tokens = 0;
  int64_t inter_node = 0;
  int64_t transfers = 0;
  for (int sample = 0; sample < trace.num_samples(); ++sample) {
    for (int layer = 0; layer < trace.num_layers(); ++layer) {
      const LayerCounts counts = trace.at(sample, layer);
      const LayerPlan plan = planner->resolve(layer, counts, planner->predict(layer));
      planner->observe(layer, counts);
      check_plan(plan, counts, topology);
      if (on_plan) {
        on_plan(sample, layer, plan);
      }
      if (sample > 0) {
        const PlanScore score = score_plan(plan, counts, topology);
        imbalances.push_back(score.imbalance);
        tokens += score.tokens;
        inter_node += score.inter_node;
        transfers += plan.transfers;
      }
    }
  }
  if (imbalances.empty()) {
    return summary;
  }
  std::sort(imbalances.begin(), imbalances.end());
  const auto plans = static_cast<double>(imbalances.size());
  summary.plans = std::ssize(imbalances);
  summary.mean_imbalance = std::accumulate(imbalances.begin(), imbalances.end(), 0.0) / plans;
  summary.p95_imbalance = imbalances[imbalances.size() * 95 / 100];
  summary.inter_node =
      static_cast<double>(inter_node) / static_cast<double>(std::max<int64_t>(tokens, 1));
  summary.transfers = static_cast<double>(transfers) / plans;
  return summary;
}

std::string to_json_line(int sample, int layer, const LayerPlan& plan) {
  return Json{{"sample", sample},
              {"layer", layer},
              {"owners", plan.owners},
              {"predicted", plan.predicted},
              {"replicas", plan.replicas},
              {"quotas", plan.quotas}}
      .dump();
}

}  // namespace enodia
