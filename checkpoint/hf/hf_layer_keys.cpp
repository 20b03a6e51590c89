#include "checkpoint/hf/hf_layer_keys.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace enodia {
namespace {

/// Wherever rope_theta is told, it must be the same.
void take_theta(HfKeys& keys, std::optional<double>& theta) {
  const Json* value = keys.take("rope_theta");
  const auto number = value == nullptr ? std::nullopt : keys.number("rope_theta", *value);
  if (number && theta && *number != *theta) {
    keys.refuse(
        "rope_theta", *value, "differs from another rope_theta (" + Json(*theta).dump() + ")");
  }
  if (number) {
    theta = number;
  }
}

void read_rope_parameters(HfKeys& rope, std::optional<double>& theta) {
  static constexpr std::string_view kUnscaled =
      "only the default kind of rotary embeddings is known";
  static constexpr std::array<HfRequired, 3> kPlain{{
      {"rope_type", R"(["default"])", kUnscaled},
      {"type", R"(["default"])", kUnscaled},
      {"partial_rotary_factor", "[1, null]", "all of a head is rotated"},
  }};
  for (const HfRequired& required : kPlain) {
    rope.require(required);
  }
  take_theta(rope, theta);
  rope.refuse_others();
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

void read_rope(HfKeys& keys, ModelOptions& model) {
  std::optional<double> theta;
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
    read_rope_parameters(rope, theta);
    keys.add(std::move(rope));
  }
  take_theta(keys, theta);
  model.rope_theta = theta.value_or(model.rope_theta);
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
  ids.pad = one("pad_token_id", std::nullopt);
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
