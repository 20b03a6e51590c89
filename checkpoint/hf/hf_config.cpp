#include "checkpoint/hf/hf_config.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "checkpoint/hf/hf_description.h"
#include "checkpoint/hf/hf_keys.h"
#include "checkpoint/hf/hf_layer_keys.h"
#include "common/error.h"
#include "common/rules.h"

namespace enodia {
namespace {

const HfFamily& read_family(const Json& json, const std::string& source) {
  if (!json.is_object()) {
    throw FileError(source + " must hold a JSON object");
  }
  const auto type = json.find("model_type");
  if (type == json.end()) {
    throw FileError(source + " has no model_type, so that it is not known what model it describes");
  }
  const HfFamily* family = type->is_string() ? find_family(type->get<std::string>()) : nullptr;
  if (family == nullptr) {
    throw FileError(source + ": model_type (" + text_of_json(*type) +
                    ") is none that can be read; these can: " + list_families());
  }
  return *family;
}

bool is_readable_dtype(const std::string& name) {
  return name == "float64" || name == "float32" || name == "bfloat16" || name == "float16";
}

/// Reads one config.json, key by key.
class Reader {
 public:
  Reader(const HfFamily& family, const Json& json) : family_(family), keys_(json) {
    config_.family = &family;
    config_.model = family.defaults();
  }

  HfConfig read(const std::string& source) {
    read_architecture();
    for (const auto& keys : {decoder_keys(), family_.keys}) {
      std::for_each(keys.begin(), keys.end(), [&](const HfKey& key) { read_key(key); });
    }
    derive_heads();
    read_rope(keys_, family_, config_.model);
    read_sliding_window(keys_, family_.sliding_window.value_or(HfSlidingWindow()), config_.model);
    read_layer_types(keys_, config_.model);
    read_training();
    config_.token_ids = read_token_ids(keys_, family_, config_.model.vocab_size);
    if (family_.hooks.read != nullptr) {
      family_.hooks.read(keys_, config_.model);
    }
    check_required();
    check_sizes();
    if (family_.dense_layers == HfDenseLayers::kListed) {
      read_dense_layers(keys_, config_.model);
    }
    keys_.refuse_others();
    if (!keys_.sound()) {
      fail(source);
    }
    return std::move(config_);
  }

 private:
  [[noreturn]] void fail(const std::string& source) const {
    std::string sentence;
    for (const std::string& refusal : keys_.refusals()) {
      sentence += (sentence.empty() ? ": " : "; ") + refusal;
    }
    throw FileError(source + sentence);
  }

  void read_architecture() {
    keys_.take("model_type");
    const Json* value = keys_.take("architectures");
    if (value == nullptr || value->is_null()) {
      return;
    }
    const std::string with_head(family_.architecture);
    const std::string without_head = with_head.substr(0, with_head.find("ForCausalLM")) + "Model";
    if (*value != Json{with_head} && *value != Json{without_head}) {
      keys_.refuse("architectures",
                   *value,
                   "must be [" + Json(with_head).dump() + "], which goes with model_type " +
                       std::string(family_.model_type));
    }
  }

  void read_key(const HfKey& key) {
    const Json* value = keys_.take_either(key.key, key.twin);
    if (value == nullptr || (key.nullable && value->is_null())) {
      return;
    }
    const auto keep = [](auto& member, const auto& read) {
      if (read) {
        member = *read;
      }
    };
    if (const auto* integer = std::get_if<int64_t ModelOptions::*>(&key.member)) {
      keep(config_.model.**integer, keys_.integer(key.key, *value));
    } else if (const auto* number = std::get_if<double ModelOptions::*>(&key.member)) {
      keep(config_.model.**number, keys_.number(key.key, *value));
    } else if (const auto* truth = std::get_if<bool ModelOptions::*>(&key.member)) {
      keep(config_.model.**truth, keys_.truth(key.key, *value));
    } else if (const auto* text = std::get_if<std::string ModelOptions::*>(&key.member)) {
      keep(config_.model.**text, keys_.text(key.key, *value));
    }
  }

  /// What follows from other keys when it is null, and the head's width also when it is left out.
  void derive_heads() {
    ModelOptions& model = config_.model;
    const Json* groups = keys_.take("num_key_value_heads");
    if (groups == nullptr ? model.num_key_value_heads == 0 : groups->is_null()) {
      model.num_key_value_heads = model.num_attention_heads;
    }
    const Json* width = keys_.take("head_dim");
    if (model.is_latent()) {
      return derive_rotated_width(width);
    }
    if ((width != nullptr && !width->is_null()) || !keys_.sound() ||
        model.num_attention_heads < 1) {
      return;
    }
    if (model.hidden_size % model.num_attention_heads != 0) {
      keys_.refuse("head_dim is not given, and num_attention_heads (" +
                   std::to_string(model.num_attention_heads) + ") does not divide hidden_size (" +
                   std::to_string(model.hidden_size) + ")");
    }
    model.head_dim = model.hidden_size / model.num_attention_heads;
  }

  /// transformers calls the rotated part of a latent attention's head head_dim, and no more.
  void derive_rotated_width(const Json* width) {
    ModelOptions& model = config_.model;
    if (width != nullptr && !width->is_null() && *width != Json(model.qk_rope_head_dim)) {
      keys_.refuse("head_dim", *width, "must be qk_rope_head_dim or null");
    }
    model.head_dim = model.qk_rope_head_dim;
  }

  void read_training() {
    const std::string_view key = family_.aux_loss_key;
    config_.router_aux_loss_coef = family_.aux_loss_coef;
    if (const Json* value = keys_.take(key); value != nullptr) {
      config_.router_aux_loss_coef = keys_.number(key, *value).value_or(0.0);
      if (config_.router_aux_loss_coef < 0) {
        keys_.refuse(key, *value, "must not be below 0");
      }
    }
    const Json* dtype = keys_.take_either("dtype", "torch_dtype");
    if (dtype != nullptr && !dtype->is_null()) {
      config_.dtype = keys_.text("dtype", *dtype).value_or("");
      if (!is_readable_dtype(config_.dtype)) {
        keys_.refuse("dtype", *dtype, "must be float64, float32, bfloat16 or float16");
      }
    }
  }

  void check_required() {
    for (const auto& list : {family_.required, common_required()}) {
      for (const HfRequired& required : list) {
        if (!keys_.was_asked(required.key)) {  // else the family knows better
          keys_.require(required);
        }
      }
    }
    for (const auto& list : {common_idle(), family_.idle}) {
      std::for_each(list.begin(), list.end(), [&](auto key) { keys_.take(key); });
    }
  }

  /// Ranges and rules between sizes, when all of them could be read.
  void check_sizes() {
    if (!keys_.sound()) {
      return;
    }
    const ModelOptions& model = config_.model;
    if (model.vocab_size < 1) {
      keys_.refuse("vocab_size (" + std::to_string(model.vocab_size) + ") must be at least 1");
    }
    if (model.num_experts == 0 && family_.dense_layers != HfDenseLayers::kListed) {
      keys_.refuse(with_keys("num_experts (0) must be at least 1, since all layers hold experts"));
    }
    std::set<std::string> told;  // a key may hold two members
    for (const std::string& sentence : violations_of(model)) {
      if (std::string here = with_keys(sentence); told.insert(here).second) {
        keys_.refuse(std::move(here));
      }
    }
    if (keys_.sound() && family_.hooks.refuse != nullptr) {
      for (const std::string& sentence : family_.hooks.refuse(model)) {
        keys_.refuse(with_keys(sentence));
      }
    }
  }

  /// A sentence about ModelOptions with the family's keys in place of the names of members.
  std::string with_keys(const std::string& sentence) const {
    std::string text;
    std::string word;
    for (const char c : sentence + " ") {
      if (std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_') {
        word += c;
        continue;
      }
      const auto key = std::find_if(family_.keys.begin(), family_.keys.end(), [&](const auto& k) {
        return k.member_name() == word;
      });
      text += key == family_.keys.end() ? word : std::string(key->key);
      text += c;
      word.clear();
    }
    text.pop_back();
    return text;
  }

  const HfFamily& family_;
  HfKeys keys_;
  HfConfig config_;
};

}  // namespace

HfConfig read_hf_config(const Json& json, const std::string& source) {
  return Reader(read_family(json, source), json).read(source);
}

}  // namespace enodia
