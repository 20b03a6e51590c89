#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "parallel/placement/placement_options.h"
#include "parallel/placement/static_placement.h"

namespace enodia {

/// Rows of one rank's tables, over all layers.
struct RowCount {
  int64_t owned = 0;     ///< experts, or stripes of them
  int64_t replicas = 0;  ///< permanent, of whole experts; none where owners have stripes
};
RowCount count_rows(std::span<const StaticLayer> layers, int stripes, int world_size, int rank);

/// Slots of one rank that are out at a time.
struct SlotCount {
  int64_t weights = 0;
  int64_t gradients = 0;
  bool operator==(const SlotCount&) const = default;
};

/// Of the slots of a rank for one layer, as many as it can fill with experts besides an even share:
/// policies that fill every slot would go on with second copies.
int useful_slots(int64_t extra_slots, int num_experts, int num_ranks);

/// Of layers whose replicas are kept: all of them.
constexpr int kAllLayers = std::numeric_limits<int>::max();

/// The most slots that a rank needs in a step of so many micro-batches. Of weights two layers' are
/// out, or those of the last `kept_layers`, whose replicas stay from forward to backward; of
/// gradients two layers': those that are being computed and those going home. Permanent replicas
/// need slots for their gradients alone; experts at home need both where owners have stripes.
SlotCount count_slots(std::span<const StaticLayer> layers,
                      const PlacementOptions& options,
                      int world_size,
                      int rank,
                      int64_t micro_batches,
                      int kept_layers);

/// Of the last layers so many that no rank needs more than `slots` to keep what it materializes.
int layers_that_fit(std::span<const StaticLayer> layers,
                    const PlacementOptions& options,
                    int world_size,
                    int64_t slots);

}  // namespace enodia
