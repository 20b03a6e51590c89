#include "parallel/placement/slot_count.h"

#include <algorithm>
#include <vector>

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
                      int kept_layers) {
  const auto first_kept = std::max<int64_t>(std::ssize(layers) - kept_layers, 0);
  int64_t largest = 0;
  int64_t kept = 0;
  int64_t permanent = 0;
  for (int64_t i = 0; i < std::ssize(layers); ++i) {
    const StaticLayer& layer = layers[i];
    const int64_t owned = std::count(layer.owners.begin(), layer.owners.end(), rank);
    const int64_t held = std::ssize(layer.world_homes(world_size).experts_on(rank));
    const int64_t slots = slots_a_layer(options, world_size, std::ssize(layer.owners), owned);
    largest = std::max(largest, slots);
    permanent = std::max(permanent, held - owned);
    kept += i >= first_kept ? slots : 0;
  }
  const int64_t at_a_time = std::min<int64_t>(2, std::ssize(layers) * micro_batches);
  SlotCount count;
  count.weights = std::max(at_a_time * largest, kept);
  count.gradients = at_a_time * (largest + permanent);
  return count;
}

int layers_that_fit(std::span<const StaticLayer> layers,
                    const PlacementOptions& options,
                    int world_size,
                    int64_t slots) {
  std::vector<int64_t> left(world_size, slots);
  int fit = 0;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer, ++fit) {
    std::vector<int64_t> owned(world_size, 0);
    for (const int32_t owner : layer->owners) {
      ++owned[owner];
    }
    for (int rank = 0; rank < world_size; ++rank) {
      left[rank] -= slots_a_layer(options, world_size, std::ssize(layer->owners), owned[rank]);
    }
    if (*std::min_element(left.begin(), left.end()) < 0) {
      break;
    }
  }
  return fit;
}

}  // namespace enodia
