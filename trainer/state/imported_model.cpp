#include "trainer/state/imported_model.h"

#include <optional>

#include "common/error.h"

namespace enodia {
namespace {

constexpr const char* kKey = "token_ids";

Json to_json(const std::optional<int64_t>& id) {
  return id ? Json(*id) : Json();
}

int64_t read_id(const Json& value, const Checkpoint& checkpoint) {
  if (!value.is_number_integer() || value.get<int64_t>() < 0) {
    throw FileError("the checkpoint " + checkpoint.folder().string() +
                    " has a token id that is no whole number: " + value.dump() +
                    "; import the model again");
  }
  return value.get<int64_t>();
}

std::optional<int64_t> read_optional_id(const Json& ids,
                                        const char* key,
                                        const Checkpoint& checkpoint) {
  if (!ids.is_object() || !ids.contains(key) || ids[key].is_null()) {
    return std::nullopt;
  }
  return read_id(ids[key], checkpoint);
}

}  // namespace

TrainConfig config_of(const HfConfig& hf, const std::string& source) {
  TrainConfig config;
  config.file_name = source;
  config.model = hf.model;
  config.router.aux_loss_coef = hf.router_aux_loss_coef;
  for (const ConfigEntry& entry : list_entries(config)) {
    if (shapes_model(entry.path)) {
      config.sources[entry.path] = {source};
    }
  }
  return config;
}

Json imported_document(const HfTokenIds& token_ids) {
  return {
      {"progress", {{"step", 0}, {"consumed_samples", 0}, {"optimizer_steps", 0}}},
      {kKey,
       {{"bos", to_json(token_ids.bos)}, {"eos", token_ids.eos}, {"pad", to_json(token_ids.pad)}}}};
}

HfTokenIds token_ids_of(const Checkpoint& checkpoint, const Tokenizer* tokenizer) {
  HfTokenIds ids;
  if (!checkpoint.document().contains(kKey)) {
    if (tokenizer != nullptr) {
      ids.eos.push_back(tokenizer->eos_id());
    }
    return ids;
  }
  const Json& stored = checkpoint.document()[kKey];
  ids.bos = read_optional_id(stored, "bos", checkpoint);
  ids.pad = read_optional_id(stored, "pad", checkpoint);
  if (stored.is_object() && stored.contains("eos") && stored["eos"].is_array()) {
    for (const Json& id : stored["eos"]) {
      ids.eos.push_back(read_id(id, checkpoint));
    }
  }
  return ids;
}

}  // namespace enodia
