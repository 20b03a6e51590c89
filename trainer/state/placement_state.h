#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/native/checkpoint.h"
#include "models/decoder.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// The checkpoint's file with what placement goes on from.
inline constexpr const char* kPlacementFile = "placement.json";

/// Whether a run has such a file: with a policy, or where owners move or have moved.
bool has_placement_state(Decoder& decoder, const PlacementOptions& options);

/// Its content, the same on all ranks: the policy, what it plans for, and its numbers; the owners
/// of experts, and the load from which the next are decided.
std::string placement_state(Decoder& decoder, const PlacementOptions& options, int world_size);

/// What of a checkpoint's file fits this run. Plans without their numbers start without history,
/// and differ from those of a run that was not interrupted, which moves sums in their last digits;
/// so do other owners.
struct StoredPlacement {
  std::optional<std::vector<int64_t>> policy;  ///< of such a policy on so many ranks
  std::optional<ExpertOwners> owners;          ///< of so many ranks, where they may move
  std::optional<ExpertLoads> loads;            ///< of any ranks
};

/// Reads what a checkpoint has for a decoder. Throws FileError. Local.
StoredPlacement read_placement(const Checkpoint& checkpoint,
                               const PlacementOptions& options,
                               int world_size,
                               Decoder& decoder);

}  // namespace enodia
