#pragma once

#include <string>

#include "checkpoint/native/checkpoint.h"
#include "parallel/expert_planner.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// The checkpoint's file with what a placement policy goes on from.
inline constexpr const char* kPlacementFile = "placement.json";

/// Its content: the policy, what it plans for, and its numbers. The same on all ranks.
std::string placement_state(const ExpertPlanner& planner,
                            const PlacementOptions& options,
                            int world_size);

/// Goes on from a checkpoint's. False when it has none for such a policy on so many ranks: plans
/// then start without history, and differ from those of a run that was not interrupted, which moves
/// sums in their last digits. Throws FileError. Local.
bool restore_placement(const Checkpoint& checkpoint,
                       const PlacementOptions& options,
                       int world_size,
                       ExpertPlanner& planner);

}  // namespace enodia
