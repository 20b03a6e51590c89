#include "parallel/placement/slot_count.h"

#include <algorithm>

namespace enodia {
namespace {

/// Replicas of one layer with so many experts that a rank may materialize.
int64_t slots_a_layer(const PlacementOptions& options,
                      int world_size,
                      int64_t experts,
                      int64_t owned) {
  if (options.policy == nullptr) {
    return 0;
  }
  const int64_t others = experts - owned;
  const int64_t even_share = (experts + world_size - 1) / world_size;
  switch (options.policy->slots) {
    case SlotUse::kExtra:
      return std::min<int64_t>(options.extra_slots, others);
    case SlotUse::kRefill:
      return std::min<int64_t>(even_share + options.extra_slots, others);
    case SlotUse::kUnlimited:
      return others;
  }
  return 0;
}

}  // namespace

SlotCount count_slots(std::span<const StaticLayer> layers,
                      const PlacementOptions& options,
                      int world_size,
                      int rank,
                      int64_t micro_batches,
                      bool keep_replicas) {
  int64_t largest = 0;
  int64_t all = 0;
  int64_t permanent = 0;
  for (const StaticLayer& layer : layers) {
    const int64_t owned = std::count(layer.owners.begin(), layer.owners.end(), rank);
    const int64_t held = std::ssize(layer.world_homes(world_size).experts_on(rank));
    const int64_t slots = slots_a_layer(options, world_size, std::ssize(layer.owners), owned);
    largest = std::max(largest, slots);
    permanent = std::max(permanent, held - owned);
    all += slots;
  }
  const int64_t at_a_time = std::min<int64_t>(2, std::ssize(layers) * micro_batches);
  SlotCount count;
  count.weights = keep_replicas ? std::max(at_a_time * largest, all) : at_a_time * largest;
  count.gradients = at_a_time * (largest + permanent);
  return count;
}

}  // namespace enodia
