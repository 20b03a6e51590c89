#include "parallel/placement/policies/division.h"
#include "parallel/placement/policies/rules.h"

namespace enodia {

LayerPlan plan_owners(const RuleInput& input,
                      const LayerCounts& /*known*/,
                      const LayerCounts& counts) {
  const Holders holders = owners_alone(input.owners);
  return make_plan(
      input.owners, holders, divide_evenly(counts, holders, input.topology.num_ranks()));
}

LayerPlan plan_replicate_all(const RuleInput& input,
                             const LayerCounts& /*known*/,
                             const LayerCounts& counts) {
  const Holders holders(counts.num_experts, all_ranks(input.topology));
  LayerPlan plan = make_plan(
      input.owners, holders, divide_near(counts, holders, input.topology, OwnTokens::kStay));
  plan.transfers = int64_t{counts.num_experts} * (input.topology.num_ranks() - 1);
  return plan;
}

}  // namespace enodia
