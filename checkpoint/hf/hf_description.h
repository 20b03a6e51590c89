#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "checkpoint/hf/hf_family.h"
#include "checkpoint/hf/hf_keys.h"
#include "common/json.h"

namespace enodia {

/// A member of ModelOptions.
using ModelMember = std::variant<int64_t ModelOptions::*,
                                 double ModelOptions::*,
                                 bool ModelOptions::*,
                                 std::string ModelOptions::*>;

/// A key of config.json that holds a member of ModelOptions.
struct HfKey {
  std::string_view key;
  ModelMember member;
  std::string_view model_key = "";  ///< the member's name where it differs from the key
  std::string_view twin = "";       ///< another name of the key; both are read and written
  bool nullable = false;            ///< null stands for a value that follows from others
  /// Of a second member under one key: why it must be as the first. Without a reason the member is
  /// of no use in the family.
  std::string_view unity = "";
  std::string_view member_name() const { return model_key.empty() ? key : model_key; }
};

/// A key that leaves the mathematics as they are here at these values only.
struct HfRequired {
  std::string_view key;
  std::string_view values;  ///< a JSON array; the first is the one that is written
  std::string_view reason;
};

/// What every model of a family is, and its config.json therefore does not tell.
struct HfTrait {
  std::string_view model_key;
  ModelMember member;
  std::string_view reason;  ///< why no other value can be expressed
};

/// A piece of Enodia's parameter names and what the family's files have in its place.
struct HfRename {
  std::string_view ours, theirs;
};

/// The window of keys that a token attends to.
struct HfSlidingWindow {
  bool has_switch;  ///< use_sliding_window says whether it counts
  std::optional<int64_t> absent;
};

/// How a family tells which layers are dense.
enum class HfDenseLayers : uint8_t {
  kNone,    ///< none is
  kListed,  ///< mlp_only_layers and decoder_sparse_step
  kFirst,   ///< first_k_dense_replace
};

/// Keys of a config.json in order of their names, as transformers writes them.
using HfWritten = std::map<std::string, Json, std::less<>>;

/// What a table cannot say of a family. Each part may be null.
struct HfHooks {
  /// Takes keys that are more than one value, and checks those that follow from others.
  void (*read)(HfKeys& keys, ModelOptions& model) = nullptr;
  void (*write)(const ModelOptions& model, HfWritten& keys) = nullptr;
  /// Sentences about combinations that transformers cannot run.
  std::vector<std::string> (*refuse)(const ModelOptions& model) = nullptr;
};

struct HfFamily {
  std::string_view model_type;
  std::string_view architecture;  ///< with a head, "...ForCausalLM"
  /// What transformers takes for keys that are left out, and the values of the traits.
  ModelOptions (*defaults)();
  std::optional<int64_t> bos, eos, pad;  ///< when left out
  std::span<const HfKey> keys;           ///< besides decoder_keys()
  std::span<const HfRequired> required;
  std::span<const std::string_view> idle;  ///< keys without effect, besides those of all families
  std::span<const HfTrait> traits;         ///< besides common_traits(), or with a better reason
  HfDenseLayers dense_layers = HfDenseLayers::kNone;
  std::optional<HfSlidingWindow> sliding_window = std::nullopt;  ///< none: it knows no such keys
  std::span<const HfRename> renames = {};
  std::string_view aux_loss_key = "router_aux_loss_coef";
  double aux_loss_coef = 0.001;    ///< when left out
  bool is_partly_rotated = false;  ///< it heeds partial_rotary_factor
  /// Layers behind the last one may be stored, which predict further tokens and are not read.
  bool has_further_layers = false;
  std::span<const std::string_view> told = {};  ///< members that the hooks read and write
  HfHooks hooks = {};
};

extern const HfFamily mixtral_family;
extern const HfFamily qwen3_moe_family;
extern const HfFamily qwen2_moe_family;
extern const HfFamily olmoe_family;
extern const HfFamily glm4_moe_family;
extern const HfFamily deepseek_v2_family;
extern const HfFamily deepseek_v3_family;

/// The keys that hold members of ModelOptions in every family.
std::span<const HfKey> decoder_keys();
/// The values that keys of any family, or of transformers itself, must have when they are there.
std::span<const HfRequired> common_required();
/// What every model of a family is whose keys and hooks do not tell it, nor its own traits.
std::span<const HfTrait> common_traits();
/// Whether one of them is of this family.
bool applies(const HfTrait& common, const HfFamily& family);
/// The keys of transformers itself that have no effect on a model's mathematics.
std::span<const std::string_view> common_idle();

/// The value of a member as JSON.
Json value_of(const ModelOptions& model, const ModelMember& member);
/// The same for messages: softmax, 0.5, true.
std::string text_of(const ModelOptions& model, const ModelMember& member);

}  // namespace enodia
