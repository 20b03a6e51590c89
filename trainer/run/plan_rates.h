#pragma once

#include <optional>

#include "parallel/mesh.h"
#include "parallel/placement/plan_budget.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// By what plans are priced (placement.budget), the same on every rank.
struct PlanRates {
  std::optional<Cluster> machine;  ///< none: fixed prices
  bool fresh = false;              ///< measured now, for the run's directory
};

/// The rates of a cluster file, or measured ones; a run that goes on takes them from its directory,
/// so that it plans as before, unless there are more or fewer nodes now, or ranks in the fullest of
/// them. None for policies that price nothing, and for one rank. Collective. Throws SharedError.
PlanRates open_rates(const ProcessMesh& mesh, const TrainConfig& config);

/// That placement.budget names something. Local. Throws ConfigError.
void check_budget(const TrainConfig& config);

/// Keeps fresh rates in the run's directory. Local, for one rank. Throws FileError.
void keep_rates(const PlanRates& rates, const TrainConfig& config);

/// What they come to for the model's layers.
PlanBudget budget_of(const PlanRates& rates, const ProcessMesh& mesh, const TrainConfig& config);

}  // namespace enodia
