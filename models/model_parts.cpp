#include "models/model_parts.h"

#include <vector>

#include "common/check.h"
#include "models/attention_block.h"
#include "models/mla_block.h"

namespace enodia {
namespace {

std::unique_ptr<Block> make_grouped_query(const ModelOptions& options,
                                          const std::string& layer_name,
                                          int index,
                                          ParameterRegistry& registry) {
  return std::make_unique<AttentionBlock>(options, layer_name, index, registry);
}

std::unique_ptr<Block> make_latent(const ModelOptions& options,
                                   const std::string& layer_name,
                                   int index,
                                   ParameterRegistry& registry) {
  return std::make_unique<MlaBlock>(options, layer_name, index, registry);
}

std::unique_ptr<Router> make_linear(const ModelOptions& options,
                                    const std::string& name,
                                    ParameterRegistry& registry) {
  return std::make_unique<LinearRouter>(name, options.num_experts, options.hidden_size, registry);
}

void check_name(const std::string& name) {
  ENODIA_CHECK(is_part_name(name), "'", name, "' must be letters, digits and underscores");
}

template <typename Factory>
std::vector<std::string> names_of(const std::map<std::string, Factory>& factories) {
  std::vector<std::string> names;
  for (const auto& [name, factory] : factories) {
    check_name(name);
    names.push_back(name);
  }
  return names;
}

}  // namespace

ModelParts::ModelParts()
    : attentions{{kGroupedQuery, make_grouped_query}, {kLatentAttention, make_latent}},
      routers{{kLinearRouter, make_linear}},
      losses{{kCrossEntropy, [](const ModelOptions&) { return LossFunction(); }}} {}

PartNames ModelParts::names() const {
  for (const auto& [name, setting] : settings) {
    check_name(name);
  }
  return {names_of(attentions), names_of(routers), names_of(losses), settings};
}

}  // namespace enodia
