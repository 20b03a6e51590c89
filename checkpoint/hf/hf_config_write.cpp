#include <map>

#include "checkpoint/hf/hf_config.h"
#include "checkpoint/hf/hf_description.h"

namespace enodia {
namespace {

/// In order of their names, as transformers writes them.
using Keys = std::map<std::string, Json, std::less<>>;

Json json_of(const std::optional<int64_t>& id) {
  return id ? Json(*id) : Json(nullptr);
}

/// A list only when there are several: some readers know numbers only.
Json json_of_eos(const std::vector<int64_t>& ids) {
  return ids.empty() ? Json(nullptr) : ids.size() == 1 ? Json(ids.front()) : Json(ids);
}

Json to_json(Keys&& keys) {
  Json json = Json::object();
  for (auto& [key, value] : keys) {
    json[key] = std::move(value);
  }
  return json;
}

void write_members(const HfFamily& family, const ModelOptions& model, Keys& keys) {
  for (const auto& list : {decoder_keys(), family.keys}) {
    for (const HfKey& key : list) {
      const Json value = value_of(model, key.member);
      keys.emplace(key.key, value);  // of two members under one key the first is told
      if (!key.twin.empty()) {
        keys.emplace(key.twin, value);
      }
    }
  }
  for (const HfRequired& required : family.required) {
    keys.emplace(required.key, Json::parse(required.values).front());
  }
}

void write_dense_layers(const ModelOptions& model, Keys& keys) {
  keys["decoder_sparse_step"] = 1;
  Json layers = Json::array();
  for (int64_t layer = 0; layer < model.first_k_dense_replace; ++layer) {
    layers.push_back(layer);
  }
  keys["mlp_only_layers"] = std::move(layers);
}

}  // namespace

Json write_hf_config(const HfConfig& config) {
  const HfFamily& family = *config.family;
  Keys keys;
  keys["architectures"] = Json::array({family.architecture});
  keys["model_type"] = family.model_type;
  write_members(family, config.model, keys);
  keys["rope_theta"] = config.model.rope_theta;
  keys["rope_parameters"] = {{"rope_theta", config.model.rope_theta}, {"rope_type", "default"}};
  keys["sliding_window"] = nullptr;
  if (family.sliding_window.has_switch) {
    keys["use_sliding_window"] = false;
  }
  if (family.has_dense_layers) {
    write_dense_layers(config.model, keys);
  }
  if (!config.dtype.empty()) {
    keys["dtype"] = config.dtype;
    keys["torch_dtype"] = config.dtype;
  }
  keys["router_aux_loss_coef"] = config.router_aux_loss_coef;
  keys["output_router_logits"] = false;
  keys["use_cache"] = true;
  keys["bos_token_id"] = json_of(config.token_ids.bos);
  keys["eos_token_id"] = json_of_eos(config.token_ids.eos);
  keys["pad_token_id"] = json_of(config.token_ids.pad);
  return to_json(std::move(keys));
}

Json write_generation_config(const HfTokenIds& token_ids) {
  Keys keys;
  if (token_ids.bos) {
    keys["bos_token_id"] = *token_ids.bos;
  }
  if (!token_ids.eos.empty()) {
    keys["eos_token_id"] = json_of_eos(token_ids.eos);
  }
  if (token_ids.pad) {
    keys["pad_token_id"] = *token_ids.pad;
  }
  return to_json(std::move(keys));
}

}  // namespace enodia
