#pragma once

#include <algorithm>
#include <random>

#include "parallel/placement/owner_resharding.h"

namespace enodia {

/// The owners of all experts of all layers in another order: heterogeneous, and each rank owns as
/// many as before.
inline ExpertOwners shuffled(ExpertOwners owners, unsigned seed) {
  std::vector<int32_t> all;
  for (const std::vector<int32_t>& layer : owners) {
    all.insert(all.end(), layer.begin(), layer.end());
  }
  std::mt19937 random(seed);
  std::shuffle(all.begin(), all.end(), random);
  auto next = all.begin();
  for (std::vector<int32_t>& layer : owners) {
    std::copy_n(next, layer.size(), layer.begin());
    next += std::ssize(layer);
  }
  return owners;
}

}  // namespace enodia
