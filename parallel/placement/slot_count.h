#pragma once

#include <cstdint>
#include <span>

#include "parallel/placement/placement_options.h"
#include "parallel/placement/static_placement.h"

namespace enodia {

/// Slots of one rank that are out at a time.
struct SlotCount {
  int64_t weights = 0;
  int64_t gradients = 0;
  bool operator==(const SlotCount&) const = default;
};

/// The most slots that a rank needs in a step of so many micro-batches. Of weights two layers' are
/// out, or all layers' when replicas are kept from forward to backward; of gradients two layers':
/// those that are being computed and those going home. Permanent replicas need slots for their
/// gradients alone.
SlotCount count_slots(std::span<const StaticLayer> layers,
                      const PlacementOptions& options,
                      int world_size,
                      int rank,
                      int64_t micro_batches,
                      bool keep_replicas);

}  // namespace enodia
