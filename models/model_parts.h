#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "models/block.h"
#include "models/model_options.h"
#include "models/router/router.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// Makes the attention of layer `layer_name` ("model.layers.3"), block `index` of its decoder.
using AttentionFactory = std::function<std::unique_ptr<Block>(const ModelOptions& options,
                                                              const std::string& layer_name,
                                                              int index,
                                                              ParameterRegistry& registry)>;

/// Makes a router whose parameters are named `name` ("model.layers.3.mlp.gate") and more.
using RouterFactory = std::function<std::unique_ptr<Router>(
    const ModelOptions& options, const std::string& name, ParameterRegistry& registry)>;

/// The loss of logits [N, V] against labels [N] (int64, -1 = none), summed over the rows that have
/// a label: a tensor of one element, made by ordinary differentiable ATen code. It is called for
/// some rows at a time, so each row's loss must depend on that row alone.
using LossFunction = std::function<at::Tensor(const at::Tensor& logits, const at::Tensor& labels)>;
/// An empty function stands for plain cross-entropy, which needs no graph.
using LossFactory = std::function<LossFunction(const ModelOptions& options)>;

/// The parts that a configuration may choose by name (model.attention, model.router, train.loss),
/// the built-in ones at first: a program of one's own adds to them before it starts
/// (docs/extending.md). A factory is called on every rank with the same arguments, must give the
/// same on each, and may throw ConfigError.
struct ModelParts {
  ModelParts();

  std::map<std::string, AttentionFactory> attentions;
  std::map<std::string, RouterFactory> routers;
  std::map<std::string, LossFactory> losses;
  /// Keys of the section `parts`; factories find their values in ModelOptions::settings.
  std::map<std::string, PartSetting> settings;

  /// Throws UsageError when a name is not one (is_part_name).
  PartNames names() const;
};

}  // namespace enodia
