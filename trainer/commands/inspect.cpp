#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/native/box.h"
#include "checkpoint/native/native_weights.h"
#include "common/hash.h"
#include "models/parameter_list.h"
#include "trainer/commands/commands.h"
#include "trainer/state/state_snapshot.h"
#include "trainer/state/stored_model.h"

namespace enodia {
namespace {

/// One stored tensor under its native name.
struct TensorEntry {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
};

/// All tensors of a checkpoint; of a Hugging Face folder those that its import would have.
std::vector<TensorEntry> list_tensors(const StoredModel& stored) {
  std::vector<TensorEntry> entries;
  if (stored.checkpoint != nullptr) {
    for (const StoredTensor& tensor : stored.checkpoint->tensors()) {
      entries.push_back({tensor.name, tensor.dtype, tensor.shape});
    }
    return entries;
  }
  for (const ParameterShape& parameter : list_parameters(stored.config.model)) {
    entries.push_back({stored_name("master", parameter.name), DType::kFloat32, parameter.shape});
  }
  return entries;
}

/// The hash of a parameter's values in float32, equal to its hash in a native checkpoint.
std::string hash_weights(const WeightSource& weights, const ParameterShape& parameter) {
  std::vector<float> values(
      static_cast<size_t>(element_count(parameter.shape, sizeof(float)).value_or(0)));
  Shard shard;
  shard.name = parameter.name;
  shard.shape = shard.size = parameter.shape;
  shard.offset.assign(parameter.shape.size(), 0);
  shard.data = values.data();
  weights.read(shard);
  return hash_of(values.data(), values.size() * sizeof(float));
}

std::string hash_of_tensor(const StoredModel& stored, const TensorEntry& entry) {
  return stored.checkpoint != nullptr
             ? stored.checkpoint->tensor_hash(entry.name)
             : hash_weights(*stored.weights,
                            {entry.name.substr(stored_name("master", "").size()), entry.shape});
}

int64_t count_parameters(const std::vector<TensorEntry>& entries) {
  int64_t count = 0;
  for (const TensorEntry& entry : entries) {
    if (entry.name.starts_with("master/")) {
      count += element_count(entry.shape, 1).value_or(0);
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

Json to_json(const StoredModel& stored, const std::vector<TensorEntry>& entries) {
  Json tensors = Json::object();
  for (const TensorEntry& entry : entries) {
    tensors[entry.name] = {{"dtype", std::string(name_of(entry.dtype))},
                           {"shape", entry.shape},
                           {"hash", hash_of_tensor(stored, entry)}};
  }
  Json json;
  if (stored.checkpoint != nullptr) {
    json["step"] = stored.checkpoint->step();
    json["document"] = stored.checkpoint->document();
  } else {
    json["family"] = stored.hf_family;
  }
  json["model"] = shape_of_model(stored.config);
  json["parameters"] = count_parameters(entries);
  json["tokenizer_hash"] = stored.tokenizer != nullptr ? Json(stored.tokenizer->hash()) : Json();
  json["tensors"] = std::move(tensors);
  return json;
}

void print_first_line(const StoredModel& stored, int64_t parameters) {
  if (stored.checkpoint == nullptr) {
    std::printf("%s: Hugging Face folder, %s, %lld parameters\n",
                stored.folder.c_str(),
                stored.hf_family.c_str(),
                static_cast<long long>(parameters));
    return;
  }
  const TrainingProgress progress = progress_of(*stored.checkpoint);
  std::printf("%s: step %lld, %lld sequences seen, %lld parameters, all checksums verified\n",
              stored.folder.c_str(),
              static_cast<long long>(progress.step),
              static_cast<long long>(progress.consumed_samples),
              static_cast<long long>(parameters));
}

void print(const StoredModel& stored, const std::vector<TensorEntry>& entries) {
  print_first_line(stored, count_parameters(entries));
  for (const ConfigEntry& entry : list_entries(stored.config)) {
    if (entry.path.starts_with("model.")) {
      std::printf("  %-34s %s\n", entry.path.c_str(), entry.value.c_str());
    }
  }
  for (const TensorEntry& entry : entries) {
    std::string shape;
    for (const int64_t extent : entry.shape) {
      shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
    }
    std::printf("  %-64s %s [%s]\n",
                entry.name.c_str(),
                std::string(name_of(entry.dtype)).c_str(),
                shape.c_str());
  }
}

}  // namespace

void inspect(const InspectArguments& arguments) {
  const StoredModel stored = open_stored_model(arguments.model);
  const std::vector<TensorEntry> entries = list_tensors(stored);
  if (stored.checkpoint != nullptr) {
    stored.checkpoint->verify();
  }
  if (arguments.json) {
    std::puts(to_json(stored, entries).dump(1).c_str());
  } else {
    print(stored, entries);
  }
}

}  // namespace enodia
