#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/hf/hf_family.h"
#include "models/parameter_list.h"

namespace enodia {

/// Where a parameter may lie: in a tensor of this name and shape, from the element `first` on. The
/// tensor has the parameter's dimensions, and an expert more in front when experts are fused.
struct HfPlace {
  std::string tensor;
  std::vector<int64_t> shape, first;
};

/// The name under which a family's files are written: "model.layers.0.block_sparse_moe.experts.7.w1
/// .weight".
std::string hf_name(const HfFamily& family, const std::string& parameter);

/// Where a parameter is looked for, the written name first: with each of the family's names or
/// Enodia's (as transformers 5 does it), one tensor an expert or all experts in one.
std::vector<HfPlace> hf_places(const HfFamily& family,
                               const ParameterShape& parameter,
                               int64_t num_experts);

/// Whether a name comes before another when runs of digits count as numbers.
bool comes_before(const std::string& a, const std::string& b);

}  // namespace enodia
