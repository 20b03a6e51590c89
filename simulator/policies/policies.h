#pragma once

#include <memory>

#include "parallel/placement/policies/rules.h"
#include "parallel/placement/policy.h"

/// Published policies of replay alone.
namespace enodia {

/// SmartMoE (Zhai et al., USENIX ATC 2023), the online half: every ten micro-batches the experts
/// of the last two, most loaded first, go each to the least loaded rank with room for it, if that
/// lowers the largest load. Owners move, there are no replicas.
std::unique_ptr<PlacementPolicy> make_smartmoe_policy(const PolicySetup& setup);

/// FlexMoE (Nie et al., SIGMOD 2023): replicas stay until they are worth less elsewhere. After
/// each micro-batch at most ten rounds, as long as the largest load falls: the expert with the most
/// tokens a copy gets one more on the least loaded rank, where need be in place of a copy of the
/// expert with the fewest.
std::unique_ptr<PlacementPolicy> make_flexmoe_policy(const PolicySetup& setup);

/// Symi (arXiv 2504.19925): copies in proportion to the tokens of the micro-batch before, at least
/// one, in slots that are filled in order of experts; tokens evenly over copies. The first copy is
/// with the owner here, where the source has no owners: 2 to 4 % of the imbalance either way.
LayerPlan plan_symi(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);

/// The cheapest plan there is of the exact counts, by the prices of Enodia's search
/// (PlanPrices): a mixed-integer program, solved by the program cbc (COIN-OR, package coinor-cbc)
/// to a ten-thousandth. Seconds to minutes for a plan: an oracle for small cases. Throws UsageError
/// without cbc, and when it takes longer than five minutes.
LayerPlan plan_lp(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);

}  // namespace enodia
