#include "hf_models.h"

#include <functional>

#include "checkpoint/native/box.h"
#include "common/dtype.h"
#include "common/hash.h"

#include "states.h"

namespace enodia {

Json mixtral_8x7b() {
  return Json::parse(R"({
    "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral",
    "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": false,
    "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02,
    "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "transformers_version": "4.36.0.dev0", "use_cache": true, "vocab_size": 32000})");
}

Json qwen3_30b_a3b() {
  return Json::parse(R"({
    "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
    "intermediate_size": 6144, "max_position_embeddings": 40960, "max_window_layers": 48,
    "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 768,
    "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
    "output_router_logits": false, "rms_norm_eps": 1e-06, "rope_scaling": null,
    "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": null,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.51.0",
    "use_cache": true, "use_sliding_window": false, "vocab_size": 151936})");
}

Json small_mixtral() {
  return Json::parse(R"({
    "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
    "dtype": "float32", "eos_token_id": 2, "head_dim": 20, "hidden_act": "silu",
    "hidden_size": 48, "initializer_range": 0.02, "intermediate_size": 24,
    "max_position_embeddings": 128, "model_type": "mixtral", "num_attention_heads": 3,
    "num_experts_per_tok": 2, "num_hidden_layers": 2, "num_key_value_heads": 1,
    "num_local_experts": 5, "output_router_logits": false, "pad_token_id": null,
    "rms_norm_eps": 1e-05, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0, "sliding_window": null,
    "tie_word_embeddings": false, "transformers_version": "5.23.0", "use_cache": true,
    "vocab_size": 97})");
}

Json small_qwen3_moe() {
  return Json::parse(R"({
    "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": null, "decoder_sparse_step": 1, "dtype": "float32", "eos_token_id": null,
    "head_dim": 20, "hidden_act": "silu", "hidden_size": 48, "initializer_range": 0.02,
    "intermediate_size": 64, "max_position_embeddings": 128, "mlp_only_layers": [],
    "model_type": "qwen3_moe", "moe_intermediate_size": 24, "norm_topk_prob": false,
    "num_attention_heads": 3, "num_experts_per_tok": 2, "num_hidden_layers": 2,
    "num_key_value_heads": 1, "num_local_experts": 5, "output_router_logits": false,
    "pad_token_id": null, "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "router_aux_loss_coef": 0.001, "sliding_window": null, "tie_word_embeddings": false,
    "transformers_version": "5.23.0", "use_cache": true, "use_sliding_window": false,
    "vocab_size": 97})");
}

HfConfig config_of(const Json& json) {
  return read_hf_config(json, "config.json");
}

std::string refusal_of(const Json& json) {
  return file_error_of([&] { config_of(json); });
}

float NumberedWeights::value(const std::string& name, int64_t element) const {
  const auto number = static_cast<uint64_t>(std::hash<std::string>{}(name)) * 31 +
                      static_cast<uint64_t>(element) * 2654435761U;
  const auto small = static_cast<float>(number % 1000003) / 1000003.0F - 0.5F;
  return coarse_ ? float_from_bfloat16(bfloat16_from_float(small)) : small;
}

void NumberedWeights::read(const Shard& wanted) const {
  std::vector<float> all(static_cast<size_t>(*element_count(wanted.shape, sizeof(float))));
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = value(wanted.name, static_cast<int64_t>(i));
  }
  const Box part{wanted.offset, wanted.size};
  const Box whole{std::vector<int64_t>(wanted.shape.size(), 0), wanted.shape};
  copy_box(part,
           whole,
           reinterpret_cast<const std::byte*>(all.data()),
           part,
           static_cast<std::byte*>(wanted.data),
           sizeof(float));
}

std::vector<float> whole_of(const WeightSource& weights, const ParameterShape& parameter) {
  std::vector<float> values(static_cast<size_t>(*element_count(parameter.shape, sizeof(float))));
  weights.read({parameter.name,
                DType::kFloat32,
                parameter.shape,
                std::vector<int64_t>(parameter.shape.size(), 0),
                parameter.shape,
                values.data()});
  return values;
}

}  // namespace enodia
