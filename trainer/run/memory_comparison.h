#pragma once

#include <filesystem>
#include <vector>

#include "collectives/communicator.h"
#include "common/memory_ledger.h"
#include "trainer/config/train_config.h"
#include "trainer/forecast/memory_forecast.h"

namespace enodia {

/// memory_forecast.json of a run directory: what each rank was foretold to take, written before the
/// first step, and beside it at the end what it took. For a model with parts of one's own nothing
/// is foretold and nothing is written.
class MemoryComparison {
 public:
  MemoryComparison(const TrainConfig& config, int world_size);

  /// Says what the fullest rank is to take, and writes the forecast where the run directory has
  /// none: nothing of an earlier run is lost if this one is refused. Called by rank 0 alone. Throws
  /// FileError.
  void announce() const;
  /// Writes the forecast. Called by rank 0 alone. Throws FileError.
  void write() const;
  /// The peaks of a step on this rank. Local.
  void observe(const MemoryUse& use);
  /// Adds what the ranks took to the file and says on rank 0 how far off the forecast was. Nothing
  /// happens when no tensors were counted. Collective. Throws SharedError.
  void finish(Communicator& world) const;

 private:
  std::filesystem::path path_;
  std::vector<RankMemory> forecast_;  // [ranks]; empty = there is none
  MemoryUse::ByKind peaks_{};         // of all steps on this rank
};

}  // namespace enodia
