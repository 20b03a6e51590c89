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

/// Likewise, with what is special to the family: a gated shared expert; norms of all heads; half of
/// each head rotated; latents, groups of experts and YaRN; a first dense layer.
Json small_qwen2_moe();
Json small_olmoe();
Json small_glm4_moe();
Json small_deepseek_v2();
Json small_deepseek_v3();
/// One of each family.
std::vector<Json> small_models();

/// Published config.json of DeepSeek-V2-Lite, and of DeepSeek-V3 but for its quantization.
Json deepseek_v2_lite();
Json deepseek_v3();

/// `json` with `key` at another value.
Json with(Json json, const std::string& key, const Json& value);

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
