#pragma once

#include <functional>
#include <memory>

#include "collectives/communicator.h"
#include "collectives/traffic.h"

namespace enodia {

/// A resolved layout: `auto` is gone and the products are checked (config rule: ep divides dp).
struct Layout {
  int dp = 1;  ///< ranks with distinct tokens; the world, until tensor parallelism lands
  int ep = 1;  ///< ranks over which the experts of a layer are spread
};

/// Wraps a new communicator of the mesh in decorators.
using Decorate =
    std::function<std::unique_ptr<Communicator>(std::unique_ptr<Communicator>, Traffic)>;

/// The axes of the job. Every communicator is made here, at start-up, one for each purpose.
/// Collective over the world, which must outlive the mesh.
class ProcessMesh {
 public:
  ProcessMesh(Communicator& world, const Layout& layout, const Decorate& decorate = {});
  const Layout& layout() const { return layout_; }
  int rank() const { return control_->rank(); }
  int world_size() const { return control_->world_size(); }
  /// All ranks: losses, norms, agreements.
  Communicator& control() const { return *control_; }
  /// The `ep` ranks of this expert-parallel group (contiguous world ranks): token exchange.
  Communicator& tokens() const { return *tokens_; }
  /// All ranks: experts' weights to their replicas and gradients home.
  Communicator& replicas() const { return *replicas_; }
  /// All ranks: dense gradients.
  Communicator& gradients() const { return *gradients_; }

 private:
  Layout layout_;
  std::unique_ptr<Communicator> control_, tokens_, replicas_, gradients_;
};

}  // namespace enodia
