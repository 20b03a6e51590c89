#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "collectives/decorators/recording.h"
#include "models/decoder.h"
#include "optim/adamw.h"
#include "parallel/mesh.h"
#include "trainer/state/stored_model.h"
#include "trainer/step/step_engine.h"

namespace enodia {

/// A stored model spread over the ranks of a communicator, ready for forward passes.
struct ServingModel {
  enum class Compute : uint8_t {
    kAsTrained,
    kInWideType,  ///< as finely as its weights are stored
  };
  /// Opens MODEL on every rank and loads its masters. Its communication shows on the board.
  /// Collective; throws SharedError, also when the model is made of other parts than this program
  /// has.
  ServingModel(Communicator& world,
               const std::string& model,
               StatusBoard& board,
               const ModelParts& parts,
               Compute compute = Compute::kAsTrained);

  Recorder recorder;
  std::unique_ptr<StoredModel> stored;
  ProcessMesh mesh;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<StepEngine> engine;
};

}  // namespace enodia
