#include <algorithm>
#include <limits>
#include <tuple>

#include "parallel/placement/policies/division.h"
#include "parallel/placement/policies/rules.h"

namespace enodia {
namespace {

/// One copy in each node to begin with, where they fit, else one; then the expert with the largest
/// load a copy grows, by one until it is in each node, then by a round of nodes.
std::vector<int> copies_by_load(std::span<const int64_t> load, int nodes, int slots) {
  const auto experts = static_cast<int>(load.size());
  std::vector<int> copies(experts, experts * nodes <= slots ? nodes : 1);
  int used = copies.front() * experts;
  while (used < slots) {
    int neediest = -1;
    for (int expert = 0; expert < experts; ++expert) {
      const bool fits = used + (copies[expert] < nodes ? 1 : nodes) <= slots;
      if (fits &&
          (neediest < 0 || load[expert] * copies[neediest] > load[neediest] * copies[expert])) {
        neediest = expert;
      }
    }
    if (neediest < 0) {
      break;
    }
    const int step = copies[neediest] < nodes ? 1 : nodes;
    copies[neediest] += step;
    used += step;
  }
  return copies;
}

/// The heaviest copies first, each to the nodes with the fewest copies of its expert, there to the
/// rank with the least load that has a slot.
Holders place(std::span<const int64_t> load,
              const std::vector<int>& copies,
              const Topology& topology,
              int slots_a_rank) {
  std::vector<int32_t> order;
  for (size_t expert = 0; expert < load.size(); ++expert) {
    order.insert(order.end(), copies[expert], static_cast<int32_t>(expert));
  }
  const auto weight = [&](int32_t expert) {
    return static_cast<double>(load[expert]) / copies[expert];
  };
  std::stable_sort(
      order.begin(), order.end(), [&](int32_t a, int32_t b) { return weight(a) > weight(b); });
  std::vector<double> load_of(topology.num_ranks(), 0);
  std::vector<int> used(topology.num_ranks(), 0);
  Holders holders(load.size());
  for (const int32_t expert : order) {
    auto best = std::tuple(std::numeric_limits<int64_t>::max(), 0.0, int32_t{-1});
    for (int32_t rank = 0; rank < topology.num_ranks(); ++rank) {
      if (used[rank] < slots_a_rank) {
        const int64_t in_node =
            std::count_if(holders[expert].begin(), holders[expert].end(), [&](int32_t holder) {
              return topology.node_of(holder) == topology.node_of(rank);
            });
        best = std::min(best, std::tuple(in_node, load_of[rank], rank));
      }
    }
    const int32_t rank = std::get<2>(best);
    holders[expert].push_back(rank);
    load_of[rank] += weight(expert);
    ++used[rank];
  }
  for (std::vector<int32_t>& ranks : holders) {
    std::sort(ranks.begin(), ranks.end());
  }
  return holders;
}

}  // namespace

LayerPlan plan_laer(const RuleInput& input, const LayerCounts& known, const LayerCounts& counts) {
  const int ranks = input.topology.num_ranks();
  const int slots_a_rank = (counts.num_experts + ranks - 1) / ranks + input.extra_slots;
  const int slots = slots_a_rank * ranks;
  const std::vector<int64_t> load = known.totals();
  std::vector<std::vector<int>> candidates{copies_by_load(load, input.topology.num_nodes(), slots)};
  if (slots % counts.num_experts == 0) {
    candidates.insert(candidates.begin(),
                      std::vector<int>(counts.num_experts, slots / counts.num_experts));
  }
  Holders best;
  double least = std::numeric_limits<double>::infinity();
  for (const std::vector<int>& copies : candidates) {
    Holders holders = place(load, copies, input.topology, slots_a_rank);
    const LayerPlan tried = make_plan(
        input.owners, holders, divide_near(known, holders, input.topology, OwnTokens::kSpread));
    const PlanScore score = score_plan(tried, known, input.topology);
    const double largest = score.imbalance * static_cast<double>(score.tokens) / ranks;
    const double cost = largest + 0.05 * static_cast<double>(score.inter_node);
    if (cost < least) {
      least = cost;
      best = std::move(holders);
    }
  }
  LayerPlan plan =
      make_plan(input.owners, best, divide_near(counts, best, input.topology, OwnTokens::kSpread));
  plan.predicted = plan.replicas;
  plan.transfers = slots;
  return plan;
}

}  // namespace enodia
