#include <algorithm>

#include "parallel/placement/policies/division.h"

#include "simulator/policies/policies.h"

namespace enodia {
namespace {

/// Copies by share, at least one; what is missing from or beyond all slots is made up by the expert
/// that is furthest below or above its share, the smaller one first.
std::vector<int> copies_by_share(std::span<const int64_t> load, int slots) {
  int64_t sum = 0;
  for (const int64_t tokens : load) {
    sum += tokens;
  }
  std::vector<double> beyond(load.size());  // what an expert has more than its share
  std::vector<int> copies(load.size());
  int used = 0;
  for (size_t expert = 0; expert < load.size(); ++expert) {
    const double share = sum > 0
                             ? static_cast<double>(load[expert]) / static_cast<double>(sum) * slots
                             : static_cast<double>(slots) / static_cast<double>(load.size());
    copies[expert] = std::max(1, static_cast<int>(share));
    beyond[expert] = copies[expert] - share;
    used += copies[expert];
  }
  for (; used < slots; ++used) {
    const auto at = std::min_element(beyond.begin(), beyond.end());
    ++copies[at - beyond.begin()];
    *at += 1;
  }
  for (; used > slots; --used) {
    size_t most = 0;
    for (size_t expert = 1; expert < load.size(); ++expert) {
      if (copies[most] == 1 || (copies[expert] > 1 && beyond[expert] > beyond[most])) {
        most = expert;
      }
    }
    --copies[most];
    beyond[most] -= 1;
  }
  return copies;
}

}  // namespace

LayerPlan plan_symi(const RuleInput& input, const LayerCounts& known, const LayerCounts& counts) {
  const int slots = counts.num_experts + input.topology.num_ranks() * input.extra_slots;
  const std::vector<int> copies = copies_by_share(known.totals(), slots);
  Holders holders = owners_alone(input.owners);
  int slot = 0;
  for (int expert = 0; expert < counts.num_experts; ++expert) {
    for (int copy = 1; copy < copies[expert]; ++copy, ++slot) {
      holders[expert].push_back(slot / input.extra_slots);
    }
    std::sort(holders[expert].begin(), holders[expert].end());
  }
  LayerPlan plan =
      make_plan(input.owners, holders, divide_evenly(counts, holders, input.topology.num_ranks()));
  plan.predicted = plan.replicas;
  plan.transfers = count_transfers(plan);
  return plan;
}

}  // namespace enodia
