#include "parallel/placement/layer_plan.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace enodia {

std::vector<int64_t> LayerCounts::totals() const {
  std::vector<int64_t> totals(num_experts, 0);
  for (size_t i = 0; i < tokens.size(); ++i) {
    totals[i % num_experts] += tokens[i];
  }
  return totals;
}

PlanScore score_plan(const LayerPlan& plan, const LayerCounts& counts, const Topology& topology) {
  PlanScore score;
  std::vector<int64_t> load(topology.num_ranks(), 0);
  std::vector<int64_t> room(topology.num_nodes());    // of an expert's quotas on each node
  std::vector<int64_t> tokens(topology.num_nodes());  // of the expert on each node
  for (int expert = 0; expert < counts.num_experts; ++expert) {
    std::fill(room.begin(), room.end(), 0);
    std::fill(tokens.begin(), tokens.end(), 0);
    for (size_t i = 0; i < plan.quotas[expert].size(); ++i) {
      const int32_t rank = i == 0 ? plan.owners[expert] : plan.replicas[expert][i - 1];
      load[rank] += plan.quotas[expert][i];
      room[topology.node_of(rank)] += plan.quotas[expert][i];
    }
    for (int rank = 0; rank < topology.num_ranks(); ++rank) {
      tokens[topology.node_of(rank)] += counts.of(rank, expert);
    }
    for (int node = 0; node < topology.num_nodes(); ++node) {
      score.inter_node += std::max<int64_t>(0, tokens[node] - room[node]);
      score.tokens += tokens[node];
    }
  }
  const int64_t largest = *std::max_element(load.begin(), load.end());
  if (score.tokens > 0) {
    score.imbalance =
        static_cast<double>(largest) * topology.num_ranks() / static_cast<double>(score.tokens);
  }
  return score;
}

int64_t count_transfers(const LayerPlan& plan) {
  int64_t count = 0;
  for (size_t expert = 0; expert < plan.replicas.size(); ++expert) {
    const std::span<const int32_t> before = plan.predicted[expert];
    const std::span<const int32_t> now = plan.replicas[expert];
    count += std::ssize(before);
    auto at = before.begin();  // both ascend
    for (const int32_t rank : now) {
      while (at != before.end() && *at < rank) {
        ++at;
      }
      count += at == before.end() || *at != rank ? 1 : 0;
    }
  }
  return count;
}

PlanMode mode_of(const LayerPlan& plan) {
  bool has_replicas = false;
  bool as_predicted = true;
  for (size_t expert = 0; expert < plan.replicas.size(); ++expert) {
    const std::span<const int32_t> used = plan.replicas[expert];
    const std::span<const int32_t> predicted = plan.predicted[expert];
    has_replicas = has_replicas || !used.empty();
    as_predicted =
        as_predicted && std::includes(predicted.begin(), predicted.end(), used.begin(), used.end());
  }
  return !has_replicas  ? PlanMode::kOff
         : plan.exact   ? PlanMode::kExact
         : as_predicted ? PlanMode::kPredicted
                        : PlanMode::kPatched;
}

ExpertPlan to_expert_plan(const LayerPlan& plan, const Topology& topology) {
  std::vector<std::vector<int32_t>> hosts;
  ExpertPlan made;
  for (size_t expert = 0; expert < plan.owners.size(); ++expert) {
    std::map<int32_t, int64_t> quotas{{plan.owners[expert], plan.quotas[expert][0]}};
    for (size_t i = 0; i < plan.replicas[expert].size(); ++i) {
      if (plan.quotas[expert][i + 1] > 0) {
        quotas[plan.replicas[expert][i]] = plan.quotas[expert][i + 1];
      }
    }
    std::vector<int32_t>& ranks = hosts.emplace_back();
    for (const auto& [rank, quota] : quotas) {
      ranks.push_back(rank);
      made.quota.push_back(quota);
    }
  }
  made.placement = ExpertPlacement::create(topology.num_ranks(), hosts);
  return made;
}

}  // namespace enodia
