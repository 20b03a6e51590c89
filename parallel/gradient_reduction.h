#pragma once

#include <vector>

#include "collectives/work.h"
#include "parallel/mesh.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// Sums the gradients of dense parameters over the ranks that hold the same copies, in rank order,
/// while backward goes on, bucket by bucket. Under ZeRO-1 a rank gets the sums of what it owns
/// alone, else of all; the bits of a sum are the same. The objective already carries 1/N, so
/// nothing is divided here. Every element's bits are the same for any size of buckets. All calls
/// are collective.
class GradientReduction {
 public:
  GradientReduction(const ProcessMesh& mesh, const ParameterRegistry& registry);
  /// On every rank the gradients of this block of the decoder and of all later ones are final.
  void ready_from(int block);
  /// All are; waits for the sums.
  void finish();

 private:
  void start(const DenseTable& table, const GradientBucket& bucket);

  const ProcessMesh& mesh_;
  const ParameterRegistry& registry_;
  std::vector<size_t> started_;  // buckets of each table
  std::vector<Work> under_way_;
};

/// After an update under ZeRO-1: sends the weights that this rank owns, as they are computed with,
/// to the ranks that hold the same parameters, and waits for theirs. Does nothing without ZeRO-1.
/// Collective.
void gather_weights(const ProcessMesh& mesh, const ParameterRegistry& registry);

}  // namespace enodia
