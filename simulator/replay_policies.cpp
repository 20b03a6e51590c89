#include "simulator/replay_policies.h"

#include <vector>

#include "parallel/placement/policies/rule_policy.h"

#include "simulator/policies/policies.h"

namespace enodia {
namespace {

const PolicyEntry kReplayAlone[] = {
    {"smartmoe",
     "SmartMoE (USENIX ATC 2023), its arrangement of experts while training",
     "the choice of parallel plans before training",
     make_smartmoe_policy},
    {"flexmoe",
     "FlexMoE (SIGMOD 2023)",
     "migration; the time of exchanges in what a round is judged by",
     make_flexmoe_policy},
    {"symi",
     "Symi (arXiv 2504.19925)",
     "dropped tokens; an expert's first copy is with its owner",
     make_rule_policy<plan_symi, PlansFrom::kNodeCountsBefore>},
    {.name = "lp",
     .source = "this program: the cheapest plan there is, for small cases",
     .leaves_out = "",
     .make = make_rule_policy<plan_lp, PlansFrom::kExactCounts>,
     .by_name_alone = true},
};

}  // namespace

std::span<const PolicyEntry> replay_policies() {
  static const std::vector<PolicyEntry> all = [] {
    const auto trained = placement_policies();
    std::vector<PolicyEntry> entries(trained.begin(), trained.end());
    entries.insert(entries.end(), std::begin(kReplayAlone), std::end(kReplayAlone));
    return entries;
  }();
  return all;
}

}  // namespace enodia
