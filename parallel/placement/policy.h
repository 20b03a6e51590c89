#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/placement/layer_plan.h"
#include "parallel/placement/plan_budget.h"

namespace enodia {

/// What a policy plans for.
struct PolicySetup {
  Topology topology;
  int num_layers = 0;
  int num_experts = 0;
  int extra_slots = 0;  ///< of a rank for one layer at a time, beside the experts that it owns
  std::vector<std::vector<int32_t>> owners;  ///< [layers][experts]
  PlanBudget budget = {};
};

/// The owners e * W / E: contiguous blocks, the same in each layer.
std::vector<std::vector<int32_t>> block_owners(int num_layers, int num_experts, int num_ranks);

/// Which counts of tokens a policy plans by.
enum class CountsReach : uint8_t {
  kNodes,  ///< sums by nodes, a row of each; those of ranks make the same plan
  kRanks,  ///< every rank's own
};

/// Decides, layer by layer and micro-batch by micro-batch, where experts are computed.
/// Deterministic and causal: what it is asked depends on the counts that it has been given before,
/// in order. All ranks ask alike, so all get the same plans. Local.
class PlacementPolicy {
 public:
  virtual ~PlacementPolicy() = default;
  /// Stage A, before the gate: the replicas to gather, in the memory of others. Owners only before
  /// anything was observed.
  virtual void predict(int layer, Replicas& replicas) const = 0;
  /// Stage B, after the gate: what is done with the exact counts, in the memory of another plan.
  /// `predicted` is what predict gave.
  virtual void resolve(int layer,
                       const LayerCounts& counts,
                       const Replicas& predicted,
                       LayerPlan& plan) = 0;
  /// The micro-batch is over.
  virtual void observe(int layer, const LayerCounts& counts) = 0;
  /// From now on experts have other owners, [layers][experts]: what was learnt of counts stays, a
  /// replica where its owner is now goes.
  virtual void set_owners(const std::vector<std::vector<int32_t>>& owners) = 0;
  /// What plans to come depend on besides counts to come and owners.
  virtual std::vector<int64_t> save() const = 0;
  /// Goes on from what such a policy has saved; false, and unchanged, when it is something else.
  virtual bool restore(std::span<const int64_t> saved) = 0;
};

/// How many replicas a rank may hold for one layer, beside the experts that it owns.
enum class SlotUse : uint8_t {
  kExtra,      ///< extra_slots
  kRefill,     ///< as many again as an even share of the experts, and extra_slots
  kUnlimited,  ///< every expert of the layer
};

/// A policy by name.
struct PolicyEntry {
  std::string_view name;
  std::string_view source;      ///< who published it
  std::string_view leaves_out;  ///< of what was published
  std::unique_ptr<PlacementPolicy> (*make)(const PolicySetup& setup);
  CountsReach reads = CountsReach::kNodes;
  SlotUse slots = SlotUse::kExtra;
  bool by_prices = false;      ///< PolicySetup::budget makes a difference
  bool by_name_alone = false;  ///< takes too long to be among all
};
/// All, in the order of docs/placement.md.
std::span<const PolicyEntry> placement_policies();

}  // namespace enodia
