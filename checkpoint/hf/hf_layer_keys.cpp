#include "checkpoint/hf/hf_layer_keys.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace enodia {
namespace {

/// What is told of rotary embeddings, wherever it stands.
struct ToldRope {
  std::optional<double> theta, part;
  std::optional<ModelOptions> scaling;  ///< its members of YaRN
};

/// Takes a number that may stand in several places, and must be the same in all of them.
void take_one_number(HfKeys& keys, std::string_view key, std::optional<double>& told) {
  const Json* value = keys.take(key);
  const auto number = value == nullptr ? std::nullopt : keys.number(key, *value);
  if (number && told && *number != *told) {
    keys.refuse(
        key, *value, "differs from another " + std::string(key) + " (" + Json(*told).dump() + ")");
  }
  if (number) {
    told = number;
  }
}

void read_part(HfKeys& keys, const HfFamily& family, ToldRope& told) {
  if (family.is_partly_rotated) {
    take_one_number(keys, "partial_rotary_factor", told.part);
  } else {
    keys.require({"partial_rotary_factor", "[1, null]", "all of a head is rotated"});
  }
}

/// Zero and null stand for a key that is left out, as in transformers.
void read_optional(HfKeys& rope, std::string_view key, double& member) {
  const Json* value = rope.take(key);
  if (value == nullptr || value->is_null()) {
    return;
  }
  const double number = rope.number(key, *value).value_or(0.0);
  member = number == 0 ? member : number;
  if (number < 0) {
    rope.refuse(key, *value, "must not be below 0");
  }
}

void read_yarn(HfKeys& rope, ModelOptions& model) {
  model.rope_scaling = "yarn";
  if (const Json* factor = rope.take("factor"); factor != nullptr) {
    model.rope_factor = rope.number("factor", *factor).value_or(1.0);
  } else {
    rope.refuse("factor", Json(nullptr), "must be given for rope_type yarn");
  }
  model.rope_original_max_position_embeddings = model.max_position_embeddings;
  constexpr std::string_view kOriginal = "original_max_position_embeddings";
  if (const Json* length = rope.take(kOriginal); length != nullptr) {
    model.rope_original_max_position_embeddings = rope.integer(kOriginal, *length).value_or(1);
  }
  read_optional(rope, "beta_fast", model.rope_beta_fast);
  read_optional(rope, "beta_slow", model.rope_beta_slow);
  read_optional(rope, "mscale", model.rope_mscale);
  read_optional(rope, "mscale_all_dim", model.rope_mscale_all_dim);
  if (const Json* factor = rope.take("attention_factor"); factor != nullptr && !factor->is_null()) {
    model.rope_attention_factor = rope.number("attention_factor", *factor).value_or(1.0);
    if (model.rope_attention_factor <= 0) {
      rope.refuse("attention_factor", *factor, "must be above 0 or null");
    }
  }
  if (const Json* truncate = rope.take("truncate"); truncate != nullptr) {
    model.rope_truncate = rope.truth("truncate", *truncate).value_or(true);
  }
}

/// One of the objects rope_parameters and rope_scaling. `model` is as without any scaling.
void read_rope_parameters(HfKeys& rope,
                          const HfFamily& family,
                          ModelOptions model,
                          ToldRope& told) {
  const Json* type = rope.take_either("rope_type", "type");
  if (type != nullptr && *type == "yarn") {
    read_yarn(rope, model);
  } else if (type != nullptr && *type != "default") {
    rope.refuse("rope_type",
                *type,
                "must be \"default\" or \"yarn\", since no other kind of rotary embeddings is "
                "known");
  }
  read_part(rope, family, told);
  take_one_number(rope, "rope_theta", told.theta);
  rope.refuse_others();
  if (told.scaling && !(*told.scaling == model)) {
    rope.refuse("rope_parameters and rope_scaling must not differ");
  }
  told.scaling = std::move(model);
}

std::optional<int64_t> read_sparse_step(HfKeys& keys) {
  const Json* value = keys.take("decoder_sparse_step");
  if (value == nullptr) {
    return 1;
  }
  const std::optional<int64_t> step = keys.integer("decoder_sparse_step", *value);
  if (step && *step < 1) {
    keys.refuse("decoder_sparse_step", *value, "must be at least 1");
  }
  return step;
}

std::set<int64_t> read_mlp_only_layers(HfKeys& keys, int64_t num_layers) {
  std::set<int64_t> listed;
  const Json* value = keys.take("mlp_only_layers");
  if (value == nullptr || value->is_null()) {
    return listed;
  }
  if (!value->is_array()) {
    keys.refuse("mlp_only_layers", *value, "must be a list of layers");
    return listed;
  }
  for (const Json& element : *value) {
    const auto layer = keys.integer("mlp_only_layers", element);
    if (layer && *layer >= 0 && *layer < num_layers) {
      listed.insert(*layer);
    } else {
      keys.refuse("mlp_only_layers",
                  *value,
                  "must hold numbers of layers, from 0 to " + std::to_string(num_layers - 1));
      break;
    }
  }
  return listed;
}

std::optional<int64_t> read_token_id(HfKeys& keys,
                                     std::string_view key,
                                     const Json& value,
                                     int64_t vocab_size) {
  const auto id = value.is_null() ? std::nullopt : keys.integer(key, value);
  if (id && (*id < 0 || (*id >= vocab_size && vocab_size > 0))) {
    keys.refuse(
        key, value, "must be an id of the vocabulary, from 0 to " + std::to_string(vocab_size - 1));
    return std::nullopt;
  }
  return id;
}

}  // namespace

void read_rope(HfKeys& keys, const HfFamily& family, ModelOptions& model) {
  ToldRope told;
  for (const std::string key : {"rope_parameters", "rope_scaling"}) {
    const Json* value = keys.take(key);
    if (value == nullptr || value->is_null()) {
      continue;
    }
    if (!value->is_object()) {
      keys.refuse(key, *value, "must be an object or null");
      continue;
    }
    HfKeys rope(*value, key + ".");
    read_rope_parameters(rope, family, model, told);
    keys.add(std::move(rope));
  }
  take_one_number(keys, "rope_theta", told.theta);
  read_part(keys, family, told);
  model = told.scaling.value_or(model);
  model.rope_theta = told.theta.value_or(model.rope_theta);
  model.partial_rotary_factor = told.part.value_or(model.partial_rotary_factor);
}

void read_query_rank(HfKeys& keys, ModelOptions& model) {
  const Json* rank = keys.take("q_lora_rank");
  if (rank == nullptr) {
    return;
  }
  model.q_lora_rank = rank->is_null() ? 0 : keys.integer("q_lora_rank", *rank).value_or(0);
  if (*rank == 0) {
    keys.refuse("q_lora_rank", *rank, "must be null where queries have no latent");
  }
}

void write_query_rank(const ModelOptions& model, HfWritten& keys) {
  keys["q_lora_rank"] = model.q_lora_rank > 0 ? Json(model.q_lora_rank) : Json(nullptr);
}

std::vector<std::string> refuse_groups_of_two_best(const ModelOptions& model) {
  std::vector<std::string> sentences;
  if (model.n_group > 0 && model.num_experts / model.n_group < 2) {
    sentences.push_back("num_experts (" + std::to_string(model.num_experts) +
                        ") must be at least twice n_group (" + std::to_string(model.n_group) +
                        "), since its router adds up the two best scores of each group");
  }
  if (model.n_group > 1 && model.group_score != "top2_sum") {
    sentences.push_back("group_score (" + model.group_score +
                        ") must be top2_sum, since its router knows no other");
  }
  return sentences;
}

void read_key_width(HfKeys& keys, const ModelOptions& model) {
  const Json* width = keys.take("qk_head_dim");
  if (width != nullptr && *width != Json(model.key_dim())) {
    keys.refuse("qk_head_dim", *width, "must be qk_nope_head_dim + qk_rope_head_dim");
  }
}

void read_sliding_window(HfKeys& keys, const HfSlidingWindow& family, const ModelOptions& model) {
  bool used = true;
  if (family.has_switch) {
    const Json* value = keys.take("use_sliding_window");
    used = value != nullptr && keys.truth("use_sliding_window", *value).value_or(false);
  }
  std::optional<int64_t> window = family.absent;
  if (const Json* value = keys.take("sliding_window"); value != nullptr) {
    window = value->is_null() ? std::nullopt : keys.integer("sliding_window", *value);
  }
  if (used && window && *window < model.max_position_embeddings) {
    keys.refuse("sliding_window (" + std::to_string(*window) +
                ") must be null or at least max_position_embeddings (" +
                std::to_string(model.max_position_embeddings) +
                "), since every token attends to all before it");
  }
}

void read_layer_types(HfKeys& keys, const ModelOptions& model) {
  const Json* value = keys.take("layer_types");
  if (value == nullptr || value->is_null()) {
    return;
  }
  const bool one_each = value->is_array() && std::cmp_equal(value->size(), model.num_hidden_layers);
  if (!one_each || !std::all_of(value->begin(), value->end(), [](const Json& type) {
        return type == "full_attention";
      })) {
    keys.refuse("layer_types", *value, "must be \"full_attention\" for each of the layers");
  }
}

void read_dense_layers(HfKeys& keys, ModelOptions& model) {
  const std::optional<int64_t> step = read_sparse_step(keys);
  const std::set<int64_t> listed = read_mlp_only_layers(keys, model.num_hidden_layers);
  if (!keys.sound()) {
    return;
  }
  const auto is_sparse = [&](int64_t layer) {
    return (layer + 1) % *step == 0 && !listed.contains(layer);
  };
  int64_t first = 0;
  while (first < model.num_hidden_layers && !is_sparse(first)) {
    ++first;
  }
  int64_t end = first;
  while (end < model.num_hidden_layers && is_sparse(end)) {
    ++end;
  }
  const bool first_are_dense = end == model.num_hidden_layers;
  if (!first_are_dense && model.num_experts > 0) {
    keys.refuse("mlp_only_layers and decoder_sparse_step (" + std::to_string(*step) +
                ") make layer " + std::to_string(end) +
                " dense after one with experts, but only the first layers may be dense");
  }
  model.first_k_dense_replace = first_are_dense ? first : 0;
}

HfTokenIds read_token_ids(HfKeys& keys, const HfFamily& family, int64_t vocab_size) {
  const auto one = [&](std::string_view key, std::optional<int64_t> absent) {
    const Json* value = keys.take(key);
    if (value != nullptr) {
      return read_token_id(keys, key, *value, vocab_size);
    }
    return absent && *absent < vocab_size ? absent : std::nullopt;
  };
  HfTokenIds ids;
  ids.bos = one("bos_token_id", family.bos);
  ids.pad = one("pad_token_id", family.pad);
  const Json* eos = keys.take("eos_token_id");
  if (eos == nullptr || !eos->is_array()) {
    const auto id = one("eos_token_id", family.eos);
    ids.eos.assign(id ? 1 : 0, id.value_or(0));
    return ids;
  }
  for (const Json& element : *eos) {
    const auto id = read_token_id(keys, "eos_token_id", element, vocab_size);
    ids.eos.insert(ids.eos.end(), id ? 1 : 0, id.value_or(0));
  }
  return ids;
}

}  // namespace enodia
