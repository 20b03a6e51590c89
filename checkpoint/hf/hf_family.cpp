#include "checkpoint/hf/hf_family.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "checkpoint/hf/hf_description.h"
#include "common/error.h"
#include "common/wording.h"

namespace enodia {
namespace {

/// A model that several express is written as the first of them.
constexpr std::array<const HfFamily*, 7> kFamilies{&mixtral_family,
                                                   &qwen3_moe_family,
                                                   &qwen2_moe_family,
                                                   &olmoe_family,
                                                   &glm4_moe_family,
                                                   &deepseek_v2_family,
                                                   &deepseek_v3_family};

void join(std::string& text, const std::string& clause, const char* between) {
  text += (text.empty() ? "" : between) + clause;
}

std::string describe(std::string_view name, const ModelOptions& model, const ModelMember& member) {
  return "model." + std::string(name) + " is " + text_of(model, member) + ", but ";
}

void add_traits(const HfFamily& family,
                const ModelOptions& model,
                std::vector<std::string>& clauses) {
  const ModelOptions expressed = family.defaults();
  const auto add = [&](const HfTrait& trait) {
    if (value_of(model, trait.member) != value_of(expressed, trait.member)) {
      clauses.push_back(describe(trait.model_key, model, trait.member) + std::string(trait.reason));
    }
  };
  for (const HfTrait& trait : common_traits()) {
    if (applies(trait, family)) {
      add(trait);
    }
  }
  std::for_each(family.traits.begin(), family.traits.end(), add);
}

/// Members under one key that have different values.
void add_disunity(const HfFamily& family,
                  const ModelOptions& model,
                  std::vector<std::string>& clauses) {
  for (const HfKey& key : family.keys) {
    const auto first = std::find_if(
        family.keys.begin(), family.keys.end(), [&](const auto& k) { return k.key == key.key; });
    if (!key.unity.empty() && value_of(model, key.member) != value_of(model, first->member)) {
      clauses.push_back(describe(key.member_name(), model, key.member) + "model." +
                        std::string(first->member_name()) + " is " + text_of(model, first->member) +
                        ", and " + std::string(key.unity));
    }
  }
}

void add_dense_layers(const HfFamily& family,
                      const ModelOptions& model,
                      std::vector<std::string>& clauses) {
  if (family.dense_layers == HfDenseLayers::kListed) {
    return;
  }
  if (model.num_experts == 0) {
    clauses.push_back("model.num_experts is 0, but all its layers hold experts");
  } else if (family.dense_layers == HfDenseLayers::kNone && model.first_k_dense_replace > 0) {
    clauses.push_back("model.first_k_dense_replace is " +
                      std::to_string(model.first_k_dense_replace) +
                      ", but all its layers hold experts");
  }
}

}  // namespace

std::string_view name_of(const HfFamily& family) {
  return family.model_type;
}

std::string_view architecture_of(const HfFamily& family) {
  return family.architecture;
}

const HfFamily* find_family(std::string_view model_type) {
  const auto found = std::find_if(kFamilies.begin(), kFamilies.end(), [&](const auto* family) {
    return family->model_type == model_type;
  });
  return found == kFamilies.end() ? nullptr : *found;
}

std::string list_families() {
  std::string names;
  for (const HfFamily* family : kFamilies) {
    join(names, std::string(family->model_type), ", ");
  }
  return names;
}

std::string family_refusal(const HfFamily& family, const ModelOptions& model) {
  std::vector<std::string> clauses;
  add_traits(family, model, clauses);
  add_disunity(family, model, clauses);
  add_dense_layers(family, model, clauses);
  if (family.hooks.refuse != nullptr) {
    const std::vector<std::string> more = family.hooks.refuse(model);
    clauses.insert(clauses.end(), more.begin(), more.end());
  }
  std::string refusal;
  for (const std::string& clause : clauses) {
    join(refusal, clause, ", and ");
  }
  return refusal;
}

const HfFamily& choose_family(const ModelOptions& model, std::string_view wanted) {
  if (!wanted.empty() && find_family(wanted) == nullptr) {
    throw ConfigError("there is no family " + quote(wanted) + "; choose one of " + list_families());
  }
  std::string reasons;
  for (const HfFamily* family : kFamilies) {
    if (!wanted.empty() && family->model_type != wanted) {
      continue;
    }
    const std::string refusal = family_refusal(*family, model);
    if (refusal.empty()) {
      return *family;
    }
    join(reasons, std::string(family->model_type) + " cannot: " + refusal, "; ");
  }
  throw ConfigError("the model cannot be written as a Hugging Face model: " + reasons);
}

}  // namespace enodia
