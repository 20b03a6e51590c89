#include "parallel/placement/slot_count.h"

#include <algorithm>
#include <vector>

#include "parallel/placement/expert_stripes.h"

namespace enodia {
namespace {

/// Replicas of one layer with so many experts that a rank may materialize.
int64_t replicas_a_layer(const PlacementOptions& options,
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

/// What the ranks hold of a layer.
class HeldExperts {
 public:
  HeldExperts(const StaticLayer& layer, const PlacementOptions& options, int world_size)
      : experts_(std::ssize(layer.owners)),
        options_(options),
        homes_(layer.world_homes(world_size)),
        owned_(world_size, 0) {
    for (const int32_t owner : layer.owners) {
      ++owned_[owner];
    }
  }
  int64_t permanent(int rank) const {
    return options_.stripes > 1 ? 0 : at_home(rank) - owned_[rank];
  }
  int64_t materialized(int rank) const {
    const auto ranks = static_cast<int>(owned_.size());
    return replicas_a_layer(options_, ranks, experts_, owned_[rank]) +
           (options_.stripes > 1 ? at_home(rank) : 0);
  }

 private:
  int64_t at_home(int rank) const { return std::ssize(homes_.experts_on(rank)); }

  int64_t experts_;
  const PlacementOptions& options_;
  ExpertPlacement homes_;       // over all ranks
  std::vector<int64_t> owned_;  // [ranks]
};

}  // namespace

int useful_slots(int64_t extra_slots, int num_experts, int num_ranks) {
  return static_cast<int>(std::min<int64_t>(extra_slots, num_experts - num_experts / num_ranks));
}

RowCount count_rows(std::span<const StaticLayer> layers, int stripes, int world_size, int rank) {
  RowCount rows;
  for (const StaticLayer& layer : layers) {
    rows.owned += std::count_if(layer.owners.begin(), layer.owners.end(), [&](int32_t owner) {
      return owns_stripe(rank, owner, stripes);
    });
    rows.replicas += HeldExperts(layer, {.stripes = stripes}, world_size).permanent(rank);
  }
  return rows;
}

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
    const HeldExperts held(layers[i], options, world_size);
    largest = std::max(largest, held.materialized(rank));
    permanent = std::max(permanent, held.permanent(rank));
    kept += i >= first_kept ? held.materialized(rank) : 0;
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
    const HeldExperts held(*layer, options, world_size);
    for (int rank = 0; rank < world_size; ++rank) {
      left[rank] -= held.materialized(rank);
    }
    if (*std::min_element(left.begin(), left.end()) < 0) {
      break;
    }
  }
  return fit;
}

}  // namespace enodia
