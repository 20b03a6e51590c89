#include "hf_models.h"

#include <functional>

#include "checkpoint/native/box.h"
#include "common/dtype.h"
#include "common/hash.h"

#include "states.h"

namespace enodia {

Json with(Json json, const std::string& key, const Json& value) {
  json[key] = value;
  return json;
}

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

namespace {

/// With the keys that small models of all newer families have alike.
Json with_common(const char* special) {
  Json json = Json::parse(R"({
    "bos_token_id": 1, "dtype": "float32", "eos_token_id": 2,
    "hidden_act": "silu", "attention_dropout": 0.0, "initializer_range": 0.02,
    "max_position_embeddings": 64, "num_attention_heads": 3, "num_experts_per_tok": 2,
    "output_router_logits": false, "pad_token_id": null, "tie_word_embeddings": false,
    "transformers_version": "5.23.0", "use_cache": true, "vocab_size": 97})");
  json.update(Json::parse(special));
  return json;
}

/// With those of both that have latents.
Json with_latents(const char* special) {
  Json json = with_common(R"({
    "head_dim": 6, "hidden_size": 48, "intermediate_size": 70,
    "kv_lora_rank": 18, "moe_intermediate_size": 28, "n_group": 2, "n_routed_experts": 8,
    "n_shared_experts": 1, "num_key_value_heads": 3, "pretraining_tp": 1, "q_lora_rank": 22,
    "qk_head_dim": 16, "qk_nope_head_dim": 10, "qk_rope_head_dim": 6, "rms_norm_eps": 1e-06,
    "topk_group": 1, "v_head_dim": 14, "attention_bias": false})");
  json.update(Json::parse(special));
  return json;
}

}  // namespace

Json small_qwen2_moe() {
  return with_common(R"({
    "architectures": ["Qwen2MoeForCausalLM"], "decoder_sparse_step": 1, "head_dim": 20,
    "hidden_size": 48, "intermediate_size": 70,
    "layer_types": ["full_attention", "full_attention"], "max_window_layers": 28,
    "mlp_only_layers": [], "model_type": "qwen2_moe", "moe_intermediate_size": 28,
    "norm_topk_prob": false, "num_experts": 5, "num_hidden_layers": 2, "num_key_value_heads": 1,
    "qkv_bias": true, "rms_norm_eps": 1e-06, "router_aux_loss_coef": 0.001,
    "shared_expert_intermediate_size": 37, "sliding_window": 0, "use_sliding_window": false,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}})");
}

Json small_olmoe() {
  return with_common(R"({
    "architectures": ["OlmoeForCausalLM"], "attention_bias": false, "clip_qkv": null,
    "hidden_size": 60, "intermediate_size": 28, "model_type": "olmoe", "norm_topk_prob": false,
    "num_experts": 5, "num_hidden_layers": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-05,
    "router_aux_loss_coef": 0.01,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}})");
}

Json small_glm4_moe() {
  return with_common(R"({
    "architectures": ["Glm4MoeForCausalLM"], "attention_bias": false,
    "first_k_dense_replace": 1, "head_dim": 20, "hidden_size": 48, "intermediate_size": 70,
    "model_type": "glm4_moe", "moe_intermediate_size": 28, "n_group": 2, "n_routed_experts": 8,
    "n_shared_experts": 2, "norm_topk_prob": true, "num_hidden_layers": 2,
    "num_key_value_heads": 1, "num_nextn_predict_layers": 1, "rms_norm_eps": 1e-05,
    "routed_scaling_factor": 1.0, "topk_group": 1, "use_qk_norm": false,
    "rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 10000.0,
                        "rope_type": "default"}})");
}

Json small_deepseek_v2() {
  return with_latents(R"({
    "architectures": ["DeepseekV2ForCausalLM"], "first_k_dense_replace": 0, "mlp_bias": false,
    "model_type": "deepseek_v2", "norm_topk_prob": false, "num_hidden_layers": 2,
    "routed_scaling_factor": 1.0, "topk_method": "group_limited_greedy",
    "rope_parameters": {"beta_fast": 2.0, "beta_slow": 0.25, "factor": 4.0, "mscale": 0.7,
                        "mscale_all_dim": 0.7, "original_max_position_embeddings": 16,
                        "rope_theta": 10000.0, "rope_type": "yarn"}})");
}

Json small_deepseek_v3() {
  return with_latents(R"({
    "architectures": ["DeepseekV3ForCausalLM"], "first_k_dense_replace": 1,
    "model_type": "deepseek_v3", "norm_topk_prob": true, "num_hidden_layers": 3,
    "num_nextn_predict_layers": 1, "rope_interleave": true, "routed_scaling_factor": 2.5,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}})");
}

std::vector<Json> small_models() {
  return {small_mixtral(),
          small_qwen3_moe(),
          small_qwen2_moe(),
          small_olmoe(),
          small_glm4_moe(),
          small_deepseek_v2(),
          small_deepseek_v3()};
}

Json deepseek_v2_lite() {
  return Json::parse(R"({
    "architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV2Config"},
    "aux_loss_alpha": 0.001, "bos_token_id": 100000, "eos_token_id": 100001,
    "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 2048,
    "initializer_range": 0.02, "intermediate_size": 10944, "kv_lora_rank": 512,
    "max_position_embeddings": 163840, "model_type": "deepseek_v2",
    "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 64,
    "n_shared_experts": 2, "norm_topk_prob": false, "num_attention_heads": 16,
    "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16,
    "pretraining_tp": 1, "q_lora_rank": null, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707,
                     "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096,
                     "type": "yarn"},
    "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax",
    "seq_aux": true, "tie_word_embeddings": false, "topk_group": 1, "topk_method": "greedy",
    "torch_dtype": "bfloat16", "transformers_version": "4.33.1", "use_cache": true,
    "v_head_dim": 128, "vocab_size": 102400})");
}

Json deepseek_v3() {
  return Json::parse(R"({
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
    "aux_loss_alpha": 0.001, "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1,
    "first_k_dense_replace": 3, "hidden_act": "silu", "hidden_size": 7168,
    "initializer_range": 0.02, "intermediate_size": 18432, "kv_lora_rank": 512,
    "max_position_embeddings": 163840, "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256,
    "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1, "pretraining_tp": 1, "q_lora_rank": 1536,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0,
                     "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096,
                     "type": "yarn"},
    "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
    "seq_aux": true, "tie_word_embeddings": false, "topk_group": 4, "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16", "transformers_version": "4.33.1", "use_cache": true,
    "v_head_dim": 128, "vocab_size": 129280})");
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
