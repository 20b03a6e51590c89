#include "parallel/placement/policy.h"

#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "common/check.h"
#include "parallel/placement/policies/enodia.h"
#include "parallel/placement/policies/rules.h"
#include "parallel/placement/saved_numbers.h"

namespace enodia {
namespace {

/// A published policy. What it plans before the micro-batch it plans from the counts of the one
/// before; without any, owners only.
class RulePolicy : public PlacementPolicy {
 public:
  enum class PlansFrom : uint8_t { kCountsBefore, kExactCounts };

  RulePolicy(const PolicySetup& setup, Rule rule, PlansFrom from)
      : setup_(setup),
        rule_(rule),
        from_(from),
        last_(setup.num_layers) {}

  Replicas predict(int layer) const override {
    if (from_ == PlansFrom::kExactCounts || last_[layer].empty()) {
      return Replicas(setup_.num_experts);
    }
    const LayerCounts known = last(layer);
    return rule_(input(layer), known, known).replicas;
  }

  LayerPlan resolve(int layer, const LayerCounts& counts, const Replicas& predicted) override {
    const bool has_history = !last_[layer].empty();
    const Rule rule = from_ == PlansFrom::kExactCounts || has_history ? rule_ : &plan_owners;
    LayerPlan plan = rule(input(layer), has_history ? last(layer) : counts, counts);
    plan.predicted = predicted;
    return plan;
  }

  void observe(int layer, const LayerCounts& counts) override {
    last_[layer].assign(counts.tokens.begin(), counts.tokens.end());
  }

  std::vector<int64_t> save() const override {
    std::vector<int64_t> saved;
    for (const std::vector<int32_t>& counts : last_) {
      saved.push_back(std::ssize(counts));
      saved.insert(saved.end(), counts.begin(), counts.end());
    }
    return saved;
  }

  bool restore(std::span<const int64_t> saved) override {
    SavedNumbers numbers(saved);
    const int64_t all = int64_t{setup_.topology.num_ranks()} * setup_.num_experts;
    std::vector<std::vector<int32_t>> last(last_.size());
    for (std::vector<int32_t>& counts : last) {
      const int64_t size = numbers.next(0, all);
      for (int64_t i = 0; i < size && !numbers.failed(); ++i) {
        counts.push_back(
            static_cast<int32_t>(numbers.next(0, std::numeric_limits<int32_t>::max())));
      }
      numbers.require(size == 0 || size == all);
    }
    if (!numbers.complete()) {
      return false;
    }
    last_ = std::move(last);
    return true;
  }

 private:
  RuleInput input(int layer) const {
    return {setup_.topology, setup_.owners[layer], setup_.extra_slots};
  }
  LayerCounts last(int layer) const { return {setup_.num_experts, last_[layer]}; }

  PolicySetup setup_;
  Rule rule_;
  PlansFrom from_;
  std::vector<std::vector<int32_t>> last_;  // [layers] counts, empty = none yet
};

using PlansFrom = RulePolicy::PlansFrom;

template <Rule rule, PlansFrom from>
std::unique_ptr<PlacementPolicy> make(const PolicySetup& setup) {
  return std::make_unique<RulePolicy>(setup, rule, from);
}

constexpr std::array kPolicies{
    PolicyEntry{
        "owners", "plain expert parallelism", "", make<plan_owners, PlansFrom::kExactCounts>},
    PolicyEntry{"replicate_all",
                "data parallelism",
                "",
                make<plan_replicate_all, PlansFrom::kExactCounts>,
                CountsReach::kRanks,
                SlotUse::kUnlimited},
    PolicyEntry{"fastermoe",
                "FasterMoE (PPoPP 2022)",
                "its pipelining of exchange and compute",
                make<plan_fastermoe, PlansFrom::kExactCounts>,
                CountsReach::kRanks,
                SlotUse::kUnlimited},
    PolicyEntry{"hecate",
                "Hecate, t = 2m (arXiv 2502.02581v1)",
                "calibration, heterogeneous sharding",
                make<plan_hecate, PlansFrom::kCountsBefore>,
                CountsReach::kRanks},
    PolicyEntry{"hecate_narrow",
                "Hecate, t = m",
                "calibration, heterogeneous sharding",
                make<plan_hecate_narrow, PlansFrom::kCountsBefore>,
                CountsReach::kRanks},
    PolicyEntry{"eplb",
                "DeepSeek's EPLB, global",
                "",
                make<plan_eplb, PlansFrom::kCountsBefore>,
                CountsReach::kNodes,
                SlotUse::kRefill},
    PolicyEntry{"eplb_hierarchical",
                "DeepSeek's EPLB, groups of four experts to nodes",
                "",
                make<plan_eplb_hierarchical, PlansFrom::kCountsBefore>,
                CountsReach::kNodes,
                SlotUse::kRefill},
    PolicyEntry{"laer",
                "LAER-MoE (arXiv 2602.11686)",
                "a window of five counts; perturbed candidates",
                make<plan_laer, PlansFrom::kCountsBefore>,
                CountsReach::kRanks,
                SlotUse::kRefill},
    PolicyEntry{"ultraep",
                "UltraEP inside nodes (arXiv 2606.04101)",
                "a smallest number of tokens a replica",
                make<plan_ultraep, PlansFrom::kExactCounts>},
    PolicyEntry{"ultraep_global",
                "UltraEP's rule over all ranks",
                "a smallest number of tokens a replica",
                make<plan_ultraep_global, PlansFrom::kExactCounts>},
    PolicyEntry{"enodia", "this program", "", make_enodia_policy},
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
