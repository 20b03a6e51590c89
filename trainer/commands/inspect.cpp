#include <cstdio>
#include <string>

#include "trainer/commands/commands.h"
#include "trainer/state/state_snapshot.h"
#include "trainer/state/stored_model.h"

namespace enodia {
namespace {

int64_t count_parameters(const Checkpoint& checkpoint) {
  int64_t count = 0;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (tensor.name.starts_with("master/")) {
      int64_t elements = 1;
      for (const int64_t extent : tensor.shape) {
        elements *= extent;
      }
      count += elements;
    }
  }
  return count;
}

Json shape_of_model(const TrainConfig& config) {
  Json model;
  for (const ConfigEntry& entry : list_entries(config)) {
    if (entry.path.starts_with("model.")) {
      // A YAML scalar is a JSON number or truth value, or else a string: "float32".
      const Json value = Json::parse(entry.value, nullptr, /*allow_exceptions=*/false);
      model[entry.path.substr(6)] = value.is_discarded() ? Json(entry.value) : value;
    }
  }
  return model;
}

Json to_json(const StoredModel& stored) {
  Json tensors = Json::object();
  for (const StoredTensor& tensor : stored.checkpoint.tensors()) {
    tensors[tensor.name] = {{"dtype", std::string(name_of(tensor.dtype))},
                            {"shape", tensor.shape},
                            {"hash", stored.checkpoint.tensor_hash(tensor.name)}};
  }
  return {{"step", stored.checkpoint.step()},
          {"document", stored.checkpoint.document()},
          {"model", shape_of_model(stored.config)},
          {"parameters", count_parameters(stored.checkpoint)},
          {"tokenizer_hash", stored.tokenizer->hash()},
          {"tensors", tensors}};
}

void print(const StoredModel& stored) {
  const TrainingProgress progress = progress_of(stored.checkpoint);
  std::printf("%s: step %lld, %lld sequences seen, %lld parameters, all checksums verified\n",
              stored.checkpoint.folder().c_str(),
              static_cast<long long>(progress.step),
              static_cast<long long>(progress.consumed_samples),
              static_cast<long long>(count_parameters(stored.checkpoint)));
  for (const ConfigEntry& entry : list_entries(stored.config)) {
    if (entry.path.starts_with("model.")) {
      std::printf("  %-34s %s\n", entry.path.c_str(), entry.value.c_str());
    }
  }
  for (const StoredTensor& tensor : stored.checkpoint.tensors()) {
    std::string shape;
    for (const int64_t extent : tensor.shape) {
      shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
    }
    std::printf("  %-64s %s [%s]\n",
                tensor.name.c_str(),
                std::string(name_of(tensor.dtype)).c_str(),
                shape.c_str());
  }
}

}  // namespace

void inspect(const InspectArguments& arguments) {
  const StoredModel stored = open_stored_model(arguments.model);
  stored.checkpoint.verify();
  if (arguments.json) {
    std::puts(to_json(stored).dump(1).c_str());
  } else {
    print(stored);
  }
}

}  // namespace enodia
