#pragma once

#include <cstdint>
#include <optional>

#include "models/decoder.h"
#include "trainer/step/expert_load.h"

namespace enodia {

/// What a look at the experts' owners after a step has led to.
struct OwnerMoves {
  int64_t experts = 0;  ///< that have another owner now, over all layers
  int64_t bytes = 0;    ///< that ranks have sent each other for it
  double ms = 0;        ///< to decide and to move, on this rank
};

/// Tells the planner the load of an applied step, the `steps`th, and lets experts change owners
/// when placement.reshard_interval is up; nothing when it is not. Collective.
std::optional<OwnerMoves> move_owners_after(int64_t steps, const StepLoad& load, Decoder& decoder);

}  // namespace enodia
