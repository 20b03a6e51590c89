#pragma once

#include <cstdint>
#include <vector>

#include "common/json.h"
#include "common/memory_ledger.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// Bytes of what is trained: of all that is no expert, and of the experts that a rank owns.
struct TrainedBytes {
  int64_t dense = 0, experts = 0;
  int64_t total() const { return dense + experts; }
};

/// The most bytes that one rank's tensors take at a time, by kind (MemoryKind).
struct RankMemory {
  TrainedBytes parameters;  ///< masters, and what is computed with where that is another type
  TrainedBytes gradients;
  TrainedBytes optimizer;
  int64_t replica_weights = 0;    ///< permanent replicas, and all slots
  int64_t replica_gradients = 0;  ///< slots for them
  int64_t data = 0;
  int64_t activations = 0;

  MemoryUse::ByKind by_kind() const;
  int64_t total() const;
  /// {"parameters": {"dense": .., "experts": ..}, .., "total": ..}
  Json to_json() const;
};

/// What a training step takes on each rank, from the configuration alone, [world_size].
/// - Parameters, gradients, optimizer and data are what is allocated (with parallel.zero1 as if cut
///   evenly).
/// - Replicas are all that the policy may hold: a run whose load asks for fewer takes less.
/// - Activations are those of a rank whose experts get an even share of the token copies; without
///   what is smaller than a row of the model for each token.
/// The model must be built-in and its vocabulary known (not 0). Local.
std::vector<RankMemory> forecast_memory(const TrainConfig& config, int world_size);

/// MoE layers, the last ones, whose replicas stay from forward to backward: as many as fit into
/// placement.keep_memory_mb on every rank, or all without placement.rematerialize. Local.
int kept_layers(const TrainConfig& config, int world_size);

}  // namespace enodia
