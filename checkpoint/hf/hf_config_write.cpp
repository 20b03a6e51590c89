#include <string>
#include <utility>

#include "checkpoint/hf/hf_config.h"
#include "checkpoint/hf/hf_description.h"

namespace enodia {
namespace {

Json json_of(const std::optional<int64_t>& id) {
  return id ? Json(*id) : Json(nullptr);
}

/// A list only when there are several: some readers know numbers only.
Json json_of_eos(const std::vector<int64_t>& ids) {
  return ids.empty() ? Json(nullptr) : ids.size() == 1 ? Json(ids.front()) : Json(ids);
}

Json to_json(HfWritten&& keys) {
  Json json = Json::object();
  for (auto& [key, value] : keys) {
    json[key] = std::move(value);
  }
  return json;
}

void write_members(const HfFamily& family, const ModelOptions& model, HfWritten& keys) {
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

/// The keys of YaRN under their names within rope_parameters and rope_scaling.
Json yarn_keys(const ModelOptions& model) {
  Json rope{{"rope_type", "yarn"},
            {"factor", model.rope_factor},
            {"original_max_position_embeddings", model.rope_original_max_position_embeddings},
            {"beta_fast", model.rope_beta_fast},
            {"beta_slow", model.rope_beta_slow},
            {"truncate", model.rope_truncate}};
  const auto tell = [&](const char* key, double value) {
    if (value > 0) {
      rope[key] = value;
    }
  };
  tell("mscale", model.rope_mscale);
  tell("mscale_all_dim", model.rope_mscale_all_dim);
  tell("attention_factor", model.rope_attention_factor);
  return rope;
}

void write_rope(const HfFamily& family, const ModelOptions& model, HfWritten& keys) {
  const bool yarn = model.rope_scaling == "yarn";
  Json rope = yarn ? yarn_keys(model) : Json{{"rope_type", "default"}};
  if (yarn) {
    keys["rope_scaling"] = rope;
    keys["rope_scaling"]["type"] = "yarn";  // as readers before transformers 4.43 call it
  }
  rope["rope_theta"] = model.rope_theta;
  keys["rope_theta"] = model.rope_theta;
  if (family.is_partly_rotated) {
    rope["partial_rotary_factor"] = model.partial_rotary_factor;
    keys["partial_rotary_factor"] = model.partial_rotary_factor;
  }
  keys["rope_parameters"] = std::move(rope);
}

void write_dense_layers(const ModelOptions& model, HfWritten& keys) {
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
  HfWritten keys;
  keys["architectures"] = Json::array({family.architecture});
  keys["model_type"] = family.model_type;
  write_members(family, config.model, keys);
  write_rope(family, config.model, keys);
  if (family.sliding_window) {
    keys["sliding_window"] = nullptr;
  }
  if (family.sliding_window && family.sliding_window->has_switch) {
    keys["use_sliding_window"] = false;
  }
  if (family.dense_layers == HfDenseLayers::kListed) {
    write_dense_layers(config.model, keys);
  }
  if (config.model.is_latent()) {
    keys["head_dim"] = config.model.qk_rope_head_dim;
  }
  if (family.hooks.write != nullptr) {
    family.hooks.write(config.model, keys);
  }
  if (!config.dtype.empty()) {
    keys["dtype"] = config.dtype;
    keys["torch_dtype"] = config.dtype;
  }
  keys[std::string(family.aux_loss_key)] = config.router_aux_loss_coef;
  keys["output_router_logits"] = false;
  keys["use_cache"] = true;
  keys["bos_token_id"] = json_of(config.token_ids.bos);
  keys["eos_token_id"] = json_of_eos(config.token_ids.eos);
  keys["pad_token_id"] = json_of(config.token_ids.pad);
  return to_json(std::move(keys));
}

Json write_generation_config(const HfTokenIds& token_ids) {
  HfWritten keys;
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
