#include "parallel/placement/policies/division.h"
#include "parallel/placement/policies/rules.h"

namespace enodia {
namespace {

/// Tokens whose compute takes as long as sending one expert to all.
constexpr int64_t kTokensOfAShadow = 1500;

int shadows_that_pay(std::span<const int64_t> totals, std::span<const int32_t> order) {
  int64_t cost = totals[order[0]];
  for (size_t shadowed = 1; shadowed < order.size(); ++shadowed) {
    const int64_t next =
        totals[order[shadowed]] + static_cast<int64_t>(shadowed) * kTokensOfAShadow;
    if (next >= cost) {
      return static_cast<int>(shadowed) - 1;
    }
    cost = next;
  }
  return static_cast<int>(order.size()) - 1;
}

}  // namespace

LayerPlan plan_fastermoe(const RuleInput& input,
                         const LayerCounts& /*known*/,
                         const LayerCounts& counts) {
  const std::vector<int64_t> totals = counts.totals();
  const std::vector<int32_t> order = by_load(totals);
  const int shadows = shadows_that_pay(totals, order);
  Holders holders = owners_alone(input.owners);
  for (int i = 0; i < shadows; ++i) {
    holders[order[i]] = all_ranks(input.topology);
  }
  LayerPlan plan = make_plan(
      input.owners, holders, divide_near(counts, holders, input.topology, OwnTokens::kStay));
  plan.transfers = int64_t{shadows} * (input.topology.num_ranks() - 1);
  return plan;
}

}  // namespace enodia
