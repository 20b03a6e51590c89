#include "checkpoint/hf/hf_family.h"

#include <algorithm>
#include <array>

#include "checkpoint/hf/hf_description.h"
#include "common/error.h"
#include "common/wording.h"

namespace enodia {
namespace {

constexpr std::array<const HfFamily*, 2> kFamilies{&kMixtral, &kQwen3Moe};

void join(std::string& text, const std::string& clause, const char* between) {
  text += (text.empty() ? "" : between) + clause;
}

std::string dense_refusal(const ModelOptions& model) {
  if (model.num_experts == 0) {
    return "model.num_experts is 0, but all its layers hold experts";
  }
  return model.first_k_dense_replace == 0
             ? ""
             : "model.first_k_dense_replace is " + std::to_string(model.first_k_dense_replace) +
                   ", but all its layers hold experts";
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
  const ModelOptions expressed = family.defaults();
  std::string refusal;
  for (const HfTrait& trait : family.traits) {
    if (value_of(model, trait.member) != value_of(expressed, trait.member)) {
      join(refusal,
           "model." + std::string(trait.model_key) + " is " + text_of(model, trait.member) +
               ", but " + std::string(trait.reason),
           ", and ");
    }
  }
  for (const HfUnion& both : family.unions) {
    if (value_of(model, both.member) != value_of(model, both.other)) {
      join(refusal,
           "model." + std::string(both.model_key) + " is " + text_of(model, both.member) +
               " and model." + std::string(both.other_key) + " is " + text_of(model, both.other) +
               ", but " + std::string(both.reason),
           ", and ");
    }
  }
  if (const std::string dense = dense_refusal(model); !family.has_dense_layers && !dense.empty()) {
    join(refusal, dense, ", and ");
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
