#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/placement/owner_resharding.h"

namespace enodia {

/// What is known of each expert's load from the steps so far: a sum in which each later step makes
/// a step count an eighth less, so that about the last eight matter. It does not depend on ranks.
/// Integers: exact, and the same everywhere. Local.
class LoadHistory {
 public:
  LoadHistory(int num_layers, int num_experts)
      : loads_(num_layers, std::vector<int64_t>(num_experts, 0)) {}
  /// A step's [layers, experts].
  void add(std::span<const int64_t> tokens);
  const ExpertLoads& loads() const { return loads_; }
  /// False, and unchanged, when it is of another shape or has numbers that
  /// no load has.
  bool restore(const ExpertLoads& saved);

 private:
  ExpertLoads loads_;
};

}  // namespace enodia
