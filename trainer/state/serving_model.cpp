#include "trainer/state/serving_model.h"

#include "collectives/run_together.h"
#include "trainer/state/state_snapshot.h"

namespace enodia {

ServingModel::ServingModel(Communicator& world, const std::string& model, StatusBoard& board)
    : recorder(nullptr, &board),
      mesh(world, {.dp = world.world_size(), .ep = world.world_size()}, recorder.decorator()) {
  run_together(world, [&] { stored = std::make_unique<StoredModel>(open_stored_model(model)); });
  decoder = std::make_unique<Decoder>(stored->config.model, stored->config.router, mesh);
  engine = std::make_unique<StepEngine>(*decoder, mesh);
  run_together(world, [&] { load_weights(*stored->weights, decoder->registry()); });
  decoder->commit_step();
}

}  // namespace enodia
