#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "parallel/exchange_counts.h"
#include "parallel/placement/expert_placement.h"
#include "parallel/placement/load_history.h"
#include "parallel/placement/owner_resharding.h"
#include "parallel/placement/placement_options.h"
#include "parallel/placement/policy.h"
#include "parallel/placement/static_placement.h"

namespace enodia {

/// Where the experts of each MoE layer are computed in training: at their homes, each expert's
/// tokens evenly over them, or as a policy says. All ranks of an expert-parallel group ask alike
/// and in one order, so all get the same plans. Local.
class ExpertPlanner {
 public:
  /// With a policy each expert has one home, its owner (without_replicas).
  ExpertPlanner(std::vector<StaticLayer> layers,
                const Topology& topology,
                const PlacementOptions& options);

  /// Which of the ranks' tokens the policy must know.
  CountsReach reach() const;
  /// Stage A: the replicas to gather for the next micro-batch.
  const ExpertPlacement& foreseen(int layer) const { return foreseen_.at(layer); }
  /// Stage B: the plan for the exact counts. In training, once a layer and micro-batch.
  ExpertPlan resolve(int layer, const ExchangedCounts& counts);
  /// Of the last plan that was resolved.
  PlanMode mode() const { return mode_; }
  /// The plan without materialized replicas.
  ExpertPlan at_home(int layer, const ExchangedCounts& counts) const;
  /// The counts of a micro-batch that has been planned: what is foreseen changes.
  void observe(int layer, const ExchangedCounts& counts);

  /// From the next micro-batch on the experts have other owners, at home with them alone; what is
  /// foreseen follows. Where can_move allows it.
  void set_owners(const ExpertOwners& owners);
  /// The owners to have after so many steps, the last of which had `tokens` [layers, experts]:
  /// none where options.reshard_interval is not up. The same on all ranks.
  std::optional<Resharding> reshard_after(int64_t steps, std::span<const int64_t> tokens);
  /// The load of the steps so far, of which reshard_after was told; it depends on no ranks.
  const LoadHistory& history() const { return history_; }
  bool restore_history(const ExpertLoads& saved) { return history_.restore(saved); }

  /// What the plans to come depend on besides counts to come and owners; empty without a policy.
  std::vector<int64_t> save() const;
  /// False when it is not what such a planner has saved; nothing has changed then.
  bool restore(std::span<const int64_t> saved);

 private:
  void foresee(int layer);

  std::vector<StaticLayer> layers_;
  Topology topology_;
  PlacementOptions options_;
  LoadHistory history_;
  std::unique_ptr<PlacementPolicy> policy_;
  std::vector<ExpertPlacement> foreseen_;  // [layers]
  std::vector<Replicas> predicted_;        // [layers], the same as the policy gave it
  LayerPlan plan_;                         // the last, kept for its memory
  std::vector<int32_t> rows_;              // counts of a policy, kept for their memory
  PlanMode mode_ = PlanMode::kOff;
};

}  // namespace enodia
