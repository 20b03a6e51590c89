#include "trainer/state/serving_model.h"

#include <map>

#include "collectives/run_together.h"
#include "common/error.h"
#include "parallel/tensor_view.h"
#include "trainer/state/state_snapshot.h"

namespace enodia {

namespace {

template <typename Part>
void require(const std::map<std::string, Part>& known,
             const std::string& key,
             const std::string& name) {
  if (!known.contains(name)) {
    throw FileError("the model was trained with " + key + name +
                    ", which this program does not have; use the program that trained it, or one "
                    "with the same parts (docs/extending.md)");
  }
}

/// Its loss is not needed. Settings that were not stored have this program's defaults.
void require_parts(ModelOptions& model, const ModelParts& parts) {
  require(parts.attentions, "model.attention ", model.attention);
  require(parts.routers, "model.router ", model.router);
  for (const auto& [name, setting] : parts.settings) {
    model.settings.try_emplace(name, setting.value);
  }
}

}  // namespace

ServingModel::ServingModel(Communicator& world,
                           const std::string& model,
                           StatusBoard& board,
                           const ModelParts& parts,
                           Compute compute)
    : recorder(nullptr, &board),
      mesh(world, {.dp = world.world_size(), .ep = world.world_size()}, recorder.decorator()) {
  run_together(world, [&] {
    stored = std::make_unique<StoredModel>(open_stored_model(model));
    require_parts(stored->config.model, parts);
    DType& dtype = stored->config.model.dtype;
    if (compute == Compute::kInWideType) {
      dtype = dtype_of(Precision(scalar_type(dtype)).wide);
    }
  });
  decoder = std::make_unique<Decoder>(stored->config.model, stored->config.router, mesh, parts);
  engine = std::make_unique<StepEngine>(*decoder, mesh);
  run_together(world, [&] { load_weights(*stored->weights, decoder->registry()); });
  decoder->commit_step();
}

}  // namespace enodia
