#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace enodia {

/// A resolved layout: `auto` is gone and the products are checked (config rule: ep divides dp).
struct Layout {
  int dp = 1;  ///< ranks with distinct tokens; the world, until tensor parallelism lands
  int ep = 1;  ///< ranks over which the experts of a layer are spread
};

/// The axes of the job. Every communicator is made here, at start-up. Collective over the world.
class ProcessMesh {
 public:
  ProcessMesh(Communicator& world, const Layout& layout);
  const Layout& layout() const { return layout_; }
  int rank() const { return world_.rank(); }
  int world_size() const { return world_.world_size(); }
  /// All ranks: dense gradients, replicas, norms.
  Communicator& data() const { return world_; }
  /// The `ep` ranks of this expert-parallel group (contiguous world ranks): token exchange.
  Communicator& experts() const { return *experts_; }

 private:
  Communicator& world_;
  Layout layout_;
  std::unique_ptr<Communicator> experts_;
};

}  // namespace enodia
