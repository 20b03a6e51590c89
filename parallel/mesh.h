#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

#include "collectives/communicator.h"
#include "collectives/traffic.h"
#include "parallel/compute_device.h"
#include "parallel/slice.h"

namespace enodia {

/// A resolved layout: `auto` is gone and the products are checked. The world has dp * tp ranks; the
/// ranks of a tensor-parallel group follow each other. Every rank has tokens of its own: a group's
/// micro-batch is cut among its ranks.
struct Layout {
  int dp = 1;  ///< groups of ranks that get micro-batches of their own
  int tp = 1;  ///< ranks that share a micro-batch and cut attention, feed-forwards and vocabulary
  int ep = 1;  ///< ranks over which the experts of a layer are spread; divides dp * tp
  /// Of attention. Where there are fewer than tp, several ranks of a group hold the same.
  int64_t key_value_heads = int64_t{1} << 16;
};

/// Which ranks hold the same copy of a dense parameter, and sum its gradient.
enum class Holders : uint8_t {
  kWorld,  ///< all: norms, routers, whatever is not cut
  kHeads,  ///< those with the same key/value heads, in all tensor-parallel groups
  kData,   ///< those of the same place in their tensor-parallel group
};
inline constexpr std::array kAllHolders{Holders::kWorld, Holders::kHeads, Holders::kData};

/// One rank among those that hold the same.
struct HolderGroup {
  int index = 0;
  int size = 1;
};

/// Where a rank stands in what the dense parameters are cut by.
struct RankPlace {
  int rank = 0;  ///< of the world
  int world_size = 1;
  int tp = 1;
  int tensor_rank = 0;
  std::array<HolderGroup, kAllHolders.size()> groups;  ///< by Holders
  /// Two kinds of holders that are the same ranks are one: the first of them.
  std::array<Holders, kAllHolders.size()> canonical = kAllHolders;

  const HolderGroup& group(Holders holders) const { return groups[static_cast<size_t>(holders)]; }
  Holders canonical_of(Holders holders) const { return canonical[static_cast<size_t>(holders)]; }
  /// This rank's share of something that is cut among the ranks of a tensor-parallel group.
  Slice share(int64_t total) const { return share_of(total, tp, tensor_rank); }
  HeadShare heads(int64_t query_heads, int64_t key_value_heads) const {
    return heads_of(query_heads, key_value_heads, tp, tensor_rank);
  }

  /// Of a world in which nothing is cut.
  static RankPlace uncut(int rank, int world_size);
};

/// Wraps a new communicator of the mesh in decorators.
using Decorate =
    std::function<std::unique_ptr<Communicator>(std::unique_ptr<Communicator>, Traffic)>;

/// The axes of the job. Every communicator is made here, at start-up, one for each purpose.
/// Collective over the world, which must outlive the mesh.
class ProcessMesh {
 public:
  ProcessMesh(Communicator& world,
              const Layout& layout,
              const Decorate& decorate = {},
              const ComputeDevice& device = {});
  /// Where this rank computes. All communicators take memory of the host and of this device.
  const ComputeDevice& device() const { return device_; }
  const Layout& layout() const { return layout_; }
  int rank() const { return place_.rank; }
  int world_size() const { return place_.world_size; }
  const RankPlace& place() const { return place_; }
  /// Which of the dp groups this rank belongs to.
  int data_rank() const { return place_.rank / layout_.tp; }
  /// All ranks: losses, norms, agreements.
  Communicator& control() const { return *control_; }
  /// The `tp` ranks of this tensor-parallel group (contiguous world ranks): activations.
  Communicator& tensor() const { return *tensor_; }
  /// The `ep` ranks of this expert-parallel group (contiguous world ranks): token exchange.
  Communicator& tokens() const { return *tokens_; }
  /// All ranks: experts' weights to their replicas and gradients home.
  Communicator& replicas() const { return *replicas_; }
  /// The ranks that hold the same dense parameters as this one: their gradients.
  Communicator& gradients(Holders holders) const {
    return *gradients_[static_cast<size_t>(place_.canonical_of(holders))];
  }

 private:
  Layout layout_;
  RankPlace place_;
  ComputeDevice device_;
  std::unique_ptr<Communicator> control_, tensor_, tokens_, replicas_;
  std::array<std::unique_ptr<Communicator>, kAllHolders.size()>
      gradients_;  // null if not canonical
};

}  // namespace enodia
