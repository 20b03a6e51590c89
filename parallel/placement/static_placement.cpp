#include "parallel/placement/static_placement.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace enodia {
namespace {

/// Homes when there are at least as many experts as ranks: every rank gets E / ep, and the E % ep
/// left over go round-robin on from where the layer before stopped, so that totals stay even.
std::vector<std::vector<int32_t>> block_homes(int layer, int num_experts, int ep) {
  const int remainder = num_experts % ep;
  std::vector<int> sizes(ep, num_experts / ep);
  for (int i = 0; i < remainder; ++i) {
    ++sizes[(layer * remainder + i) % ep];
  }
  std::vector<std::vector<int32_t>> homes;
  for (int rank = 0; rank < ep; ++rank) {
    homes.insert(homes.end(), sizes[rank], {rank});
  }
  return homes;
}

/// Homes when there are fewer experts than ranks: expert e on every E-th rank, starting one layer
/// further on where the layer before stopped.
std::vector<std::vector<int32_t>> spread_homes(int layer, int num_experts, int ep) {
  std::vector<std::vector<int32_t>> homes(num_experts);
  for (int i = 0; i < ep; ++i) {
    homes[i % num_experts].push_back((layer * num_experts + i) % ep);
  }
  return homes;
}

}  // namespace

ExpertPlacement StaticLayer::world_homes(int world_size) const {
  std::vector<std::vector<int32_t>> holders(homes.num_experts());
  for (int expert = 0; expert < homes.num_experts(); ++expert) {
    for (int group = 0; group < world_size / homes.world_size(); ++group) {
      for (const int32_t rank : homes.ranks_of(expert)) {
        holders[expert].push_back(group * homes.world_size() + rank);
      }
    }
  }
  return ExpertPlacement::create(world_size, holders);
}

std::vector<StaticLayer> static_placement(int num_layers, int num_experts, int ep, int world_size) {
  ENODIA_CHECK(num_experts > 0 && ep > 0 && world_size % ep == 0,
               "ep (",
               ep,
               ") must divide the world (",
               world_size,
               ")");
  std::vector<StaticLayer> layers;
  std::vector<int> owned(world_size, 0);
  for (int layer = 0; layer < num_layers; ++layer) {
    const auto homes = num_experts >= ep ? block_homes(layer, num_experts, ep)
                                         : spread_homes(layer, num_experts, ep);
    StaticLayer& placed = layers.emplace_back();
    placed.homes = ExpertPlacement::create(ep, homes);
    const ExpertPlacement world_homes = placed.world_homes(world_size);
    for (int expert = 0; expert < num_experts; ++expert) {
      const auto candidates = world_homes.ranks_of(expert);
      const int32_t owner =
          *std::min_element(candidates.begin(), candidates.end(), [&](int32_t a, int32_t b) {
            return owned[a] < owned[b];  // the first of equals: ties go to the lower rank
          });
      ++owned[owner];
      placed.owners.push_back(owner);
    }
  }
  return layers;
}

std::vector<StaticLayer> without_replicas(std::vector<StaticLayer> layers) {
  for (StaticLayer& layer : layers) {
    layer = owned_by(std::move(layer.owners), layer.homes.world_size());
  }
  return layers;
}

bool can_move(std::span<const StaticLayer> layers, int world_size) {
  return std::all_of(layers.begin(), layers.end(), [&](const StaticLayer& layer) {
    return layer.homes.world_size() == world_size &&
           layer.homes.num_replicas() == layer.homes.num_experts();
  });
}

StaticLayer owned_by(std::vector<int32_t> owners, int world_size) {
  std::vector<std::vector<int32_t>> homes;
  for (const int32_t owner : owners) {
    homes.push_back({owner});
  }
  return {ExpertPlacement::create(world_size, homes), std::move(owners)};
}

ExpertOwners owners_of(std::span<const StaticLayer> layers) {
  ExpertOwners owners;
  for (const StaticLayer& layer : layers) {
    owners.push_back(layer.owners);
  }
  return owners;
}

ExpertPlan even_plan(const ExpertPlacement& placement, std::span<const int64_t> tokens_of_expert) {
  ExpertPlan plan{placement, {}};
  plan.quota.reserve(placement.num_replicas());
  for (int expert = 0; expert < placement.num_experts(); ++expert) {
    const int64_t tokens = tokens_of_expert[expert];
    const auto replicas = static_cast<int64_t>(placement.ranks_of(expert).size());
    for (int64_t i = 0; i < replicas; ++i) {
      plan.quota.push_back(tokens * (i + 1) / replicas - tokens * i / replicas);
    }
  }
  return plan;
}

}  // namespace enodia
