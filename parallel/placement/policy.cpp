#include "parallel/placement/policy.h"

#include <array>

#include "parallel/placement/policies/enodia.h"
#include "parallel/placement/policies/rule_policy.h"

namespace enodia {
namespace {

constexpr std::array kPolicies{
    PolicyEntry{"owners",
                "plain expert parallelism",
                "",
                make_rule_policy<plan_owners, PlansFrom::kExactCounts>},
    PolicyEntry{"replicate_all",
                "data parallelism",
                "",
                make_rule_policy<plan_replicate_all, PlansFrom::kExactCounts>,
                CountsReach::kRanks,
                SlotUse::kUnlimited},
    PolicyEntry{"fastermoe",
                "FasterMoE (PPoPP 2022)",
                "its pipelining of exchange and compute",
                make_rule_policy<plan_fastermoe, PlansFrom::kExactCounts>,
                CountsReach::kRanks,
                SlotUse::kUnlimited},
    PolicyEntry{"hecate",
                "Hecate, t = 2m (arXiv 2502.02581v1)",
                "calibration, heterogeneous sharding (placement.reshard_interval)",
                make_rule_policy<plan_hecate, PlansFrom::kCountsBefore>,
                CountsReach::kRanks},
    PolicyEntry{"hecate_calibrated",
                "Hecate, t = 2m, with calibration",
                "heterogeneous sharding (placement.reshard_interval)",
                make_rule_policy<plan_hecate_calibrated, PlansFrom::kCountsBefore, plan_hecate>,
                CountsReach::kRanks},
    PolicyEntry{"hecate_narrow",
                "Hecate, t = m",
                "calibration, heterogeneous sharding (placement.reshard_interval)",
                make_rule_policy<plan_hecate_narrow, PlansFrom::kCountsBefore>,
                CountsReach::kRanks},
    PolicyEntry{"eplb",
                "DeepSeek's EPLB, global",
                "",
                make_rule_policy<plan_eplb, PlansFrom::kNodeCountsBefore>,
                CountsReach::kNodes,
                SlotUse::kRefill},
    PolicyEntry{"eplb_hierarchical",
                "DeepSeek's EPLB, groups of four experts to nodes",
                "",
                make_rule_policy<plan_eplb_hierarchical, PlansFrom::kNodeCountsBefore>,
                CountsReach::kNodes,
                SlotUse::kRefill},
    PolicyEntry{"laer",
                "LAER-MoE (arXiv 2602.11686)",
                "a window of five counts; perturbed candidates",
                make_rule_policy<plan_laer, PlansFrom::kCountsBefore>,
                CountsReach::kRanks,
                SlotUse::kRefill},
    PolicyEntry{"ultraep",
                "UltraEP inside nodes (arXiv 2606.04101)",
                "a smallest number of tokens a replica",
                make_rule_policy<plan_ultraep, PlansFrom::kExactCounts>},
    PolicyEntry{"ultraep_global",
                "UltraEP's rule over all ranks",
                "a smallest number of tokens a replica",
                make_rule_policy<plan_ultraep_global, PlansFrom::kExactCounts>},
    PolicyEntry{.name = "enodia",
                .source = "this program",
                .leaves_out = "",
                .make = make_enodia_policy,
                .by_prices = true},
};

}  // namespace

std::vector<std::vector<int32_t>> block_owners(int num_layers, int num_experts, int num_ranks) {
  std::vector<int32_t> owners;
  for (int expert = 0; expert < num_experts; ++expert) {
    owners.push_back(static_cast<int32_t>(int64_t{expert} * num_ranks / num_experts));
  }
  return std::vector<std::vector<int32_t>>(num_layers, owners);
}

std::span<const PolicyEntry> placement_policies() {
  return kPolicies;
}

}  // namespace enodia
