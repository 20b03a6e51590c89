#pragma once

#include <string>
#include <vector>

#include "checkpoint/hf/hf_config.h"
#include "checkpoint/hf/hf_export.h"
#include "checkpoint/weight_source.h"
#include "models/parameter_list.h"

namespace enodia {

/// Published config.json of Mixtral-8x7B-v0.1 and Qwen3-30B-A3B, as transformers 4 wrote them.
Json mixtral_8x7b();
Json qwen3_30b_a3b();
/// A small model of each family, as transformers 5.23.0 writes it: three heads of 20, one of keys
/// and values, five experts.
Json small_mixtral();
Json small_qwen3_moe();

/// Reads a config.json that must be good.
HfConfig config_of(const Json& json);
/// The sentence with which it is refused; "" when it is not.
std::string refusal_of(const Json& json);

/// Weights that tell a parameter's elements apart: each follows from the name and its place in the
/// parameter. All of them are bfloat16 numbers when `coarse`.
class NumberedWeights : public WeightSource {
 public:
  explicit NumberedWeights(bool coarse = false) : coarse_(coarse) {}
  void read(const Shard& wanted) const override;
  float value(const std::string& name, int64_t element) const;

 private:
  bool coarse_;
};

/// All elements of a parameter.
std::vector<float> whole_of(const WeightSource& weights, const ParameterShape& parameter);

}  // namespace enodia
