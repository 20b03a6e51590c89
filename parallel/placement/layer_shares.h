#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel/placement/topology.h"

namespace enodia {

/// What the ranks have of one layer's load when owners compute, and what that costs. Loads are
/// integer shares of kWhole, so that all layers count alike and no square overflows.
class LayerShares {
 public:
  static constexpr int64_t kWhole = int64_t{1} << 20;

  /// All borrowed while it lives but `tokens`.
  LayerShares(std::span<const int64_t> tokens,
              std::span<const int32_t> owners,
              const Topology& topology);
  int64_t of_expert(int expert) const { return experts_[expert]; }
  int64_t of_slowest() const { return ranks_[slowest_[0]]; }
  /// In squares of shares, three terms of equal size where all is even: what the slowest rank has,
  /// what the rank has that a token goes to in the mean, and the same of the ranks of its node,
  /// which help each other by replicas at little cost. The last two fall where several ranks are
  /// slowest and the first cannot.
  int64_t cost() const { return cost_; }
  /// After a share has gone from a rank to another. It may be negative.
  int64_t cost_after(int from, int to, int64_t share) const;
  void move(int from, int to, int64_t share);
  /// The cost where all ranks have the same: of one of its terms.
  int64_t even_term() const { return kWhole * kWhole / topology_.num_ranks(); }

 private:
  int64_t node_term(int node, int64_t share) const;
  void find_slowest();

  const Topology& topology_;
  std::vector<int64_t> experts_, ranks_, nodes_;
  /// The three slowest ranks, in order: one is left whatever two change. -1 where there are fewer.
  std::array<int32_t, 3> slowest_{};
  int64_t cost_ = 0;
};

}  // namespace enodia
