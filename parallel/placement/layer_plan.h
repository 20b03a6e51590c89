#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/placement/expert_placement.h"
#include "parallel/placement/ragged.h"
#include "parallel/placement/topology.h"

namespace enodia {

/// Token copies for each expert of one layer in one micro-batch, [rows, experts]: a row of each
/// rank, or one of each node where no more is known. Borrowed.
struct LayerCounts {
  int num_experts = 0;
  std::span<const int32_t> tokens;

  int num_rows() const { return static_cast<int>(tokens.size()) / num_experts; }
  int64_t of(int row, int expert) const { return tokens[row * num_experts + expert]; }
  /// [experts] over all rows.
  std::vector<int64_t> totals() const;
};

/// The ranks that hold a replica of each expert besides its owner, ascending: [experts].
using Replicas = Ragged<int32_t>;

/// What is decided of one layer in one micro-batch.
struct LayerPlan {
  std::vector<int32_t> owners;  ///< [experts]
  Replicas predicted;           ///< gathered before the gate
  Replicas replicas;            ///< in use, after the gate
  Ragged<int64_t> quotas;       ///< [experts]: of the owner, then of each of `replicas`
  int64_t transfers = 0;        ///< experts that are sent to a rank for it
  bool exact = false;           ///< made of the exact counts, whatever was predicted
};

/// How a plan has come to be.
enum class PlanMode : uint8_t {
  kOff,        ///< owners alone
  kPredicted,  ///< no replicas but predicted ones
  kPatched,    ///< with others, too
  kExact,      ///< LayerPlan::exact
};
constexpr std::array<std::string_view, 4> kPlanModeNames{"off", "predicted", "patched", "exact"};
/// Plans by their mode.
using PlanModeCounts = std::array<int64_t, kPlanModeNames.size()>;

PlanMode mode_of(const LayerPlan& plan);

/// What a plan comes to.
struct PlanScore {
  double imbalance = 1.0;  ///< largest over mean tokens of a rank; 1 without tokens
  int64_t tokens = 0;      ///< of all ranks
  /// Of them, that cross nodes when quotas are filled by a rank's own tokens first, then by those
  /// of its node, then by others.
  int64_t inter_node = 0;
};
PlanScore score_plan(const LayerPlan& plan, const LayerCounts& counts, const Topology& topology);

/// |predicted united with replicas|: what is sent to ranks for a plan of materialized replicas.
int64_t count_transfers(const LayerPlan& plan);

/// The same for who computes: replicas that no token is for are left out.
ExpertPlan to_expert_plan(const LayerPlan& plan, const Topology& topology);

}  // namespace enodia
