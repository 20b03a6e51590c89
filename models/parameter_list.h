#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model_options.h"

namespace enodia {

/// A parameter of a model by its global name and shape, whatever the layout.
struct ParameterShape {
  std::string name;  ///< "model.layers.3.mlp.experts.7.gate_proj.weight"
  std::vector<int64_t> shape;
};

/// Every parameter of a model in name order: the twin of what a Decoder's registries hold together,
/// free of torch. Local. Throws UsageError unless the model is built-in: of parts of one's own
/// only the decoder knows the parameters.
std::vector<ParameterShape> list_parameters(const ModelOptions& options);

/// How many parameters list_parameters gives, without listing them: a model of the largest sizes
/// that check() allows has 2^34, too many for any memory. Local. Throws UsageError as it does.
int64_t count_parameters(const ModelOptions& options);

}  // namespace enodia
