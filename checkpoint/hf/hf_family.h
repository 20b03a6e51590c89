#pragma once

#include <span>
#include <string>
#include <string_view>

#include "models/model_options.h"

namespace enodia {

/// A family of models with one `model_type` in Hugging Face's transformers. A constexpr table of
/// these is all that the rest knows of families: how each reads and writes config.json and names
/// its tensors stands in checkpoint/hf/<family>.cpp.
struct HfFamily;

/// "mixtral", "deepseek_v3".
std::string_view name_of(const HfFamily& family);
/// "MixtralForCausalLM".
std::string_view architecture_of(const HfFamily& family);
/// The family of a `model_type`, or null.
const HfFamily* find_family(std::string_view model_type);
/// All names, for messages: "mixtral, qwen3_moe, ...".
std::string list_families();

/// Why the family cannot express a model, as a clause naming key and value ("model.scoring_func is
/// sigmoid, its router knows softmax only"), or nothing.
std::string family_refusal(const HfFamily& family, const ModelOptions& model);

/// The family that expresses the model: the one of that name, or when `wanted` is empty the first
/// that does. Throws ConfigError with each family's reason.
const HfFamily& choose_family(const ModelOptions& model, std::string_view wanted);

}  // namespace enodia
