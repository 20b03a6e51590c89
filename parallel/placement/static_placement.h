#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/placement/expert_placement.h"
#include "parallel/placement/owner_resharding.h"

namespace enodia {

/// Where the experts of one layer live, for the whole run or until owners move
/// (owner_resharding.h): plain expert parallelism as a static plan. World ranks [g*ep, (g+1)*ep)
/// form expert-parallel group g; every group holds each expert at the same places.
struct StaticLayer {
  ExpertPlacement homes;        ///< over the ep ranks of a group
  std::vector<int32_t> owners;  ///< [E] world rank that holds master, gradient and moments
  /// The homes as world ranks.
  ExpertPlacement world_homes(int world_size) const;
};

/// Static placement of all MoE layers (policy `owners`). With E >= ep an expert has one home in a
/// group, in contiguous blocks whose odd experts wander from layer to layer; with E < ep the spare
/// ranks hold further replicas. Each expert has one owner among its homes in all groups; the
/// owners' totals over all layers differ by at most one between ranks. ep divides world_size.
std::vector<StaticLayer> static_placement(int num_layers, int num_experts, int ep, int world_size);

/// The same owners without the further homes. For ep = world_size.
std::vector<StaticLayer> without_replicas(std::vector<StaticLayer> layers);

/// Whether each expert has one home alone, its owner, so that experts may change owners.
bool can_move(std::span<const StaticLayer> layers, int world_size);

/// Each expert at home with its owner alone. For ep = world_size.
StaticLayer owned_by(std::vector<int32_t> owners, int world_size);

/// The owners of all layers.
ExpertOwners owners_of(std::span<const StaticLayer> layers);

/// The plan for one micro-batch: each expert's tokens split evenly over its replicas.
ExpertPlan even_plan(const ExpertPlacement& placement, std::span<const int64_t> tokens_of_expert);

}  // namespace enodia
