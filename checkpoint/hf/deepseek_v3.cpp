#include <array>

#include "checkpoint/hf/hf_description.h"
#include "checkpoint/hf/hf_layer_keys.h"

namespace enodia {
namespace {

/// As DeepseekV3Config of transformers 5.23.0.
ModelOptions deepseek_v3_defaults() {
  ModelOptions model;
  model.vocab_size = 129280;
  model.hidden_size = 7168;
  model.intermediate_size = 18432;
  model.moe_intermediate_size = 2048;
  model.num_hidden_layers = 61;
  model.num_attention_heads = 128;
  model.num_key_value_heads = 128;
  model.num_experts = 256;
  model.num_experts_per_tok = 8;
  model.num_shared_experts = 1;
  model.first_k_dense_replace = 3;
  model.norm_topk_prob = true;
  model.scoring_func = "sigmoid";
  model.routed_scaling_factor = 2.5;
  model.n_group = 8;
  model.topk_group = 4;
  model.group_score = "top2_sum";
  model.use_expert_bias = true;
  model.max_position_embeddings = 4096;
  model.initializer_range = 0.02;
  model.rms_norm_eps = 1e-6;
  model.rope_theta = 10000.0;
  model.rope_interleave = true;
  model.tie_word_embeddings = false;
  model.use_qk_norm = false;
  model.attention_bias = false;
  model.attention = kLatentAttention;
  model.q_lora_rank = 1536;
  model.kv_lora_rank = 512;
  model.qk_nope_head_dim = 128;
  model.qk_rope_head_dim = 64;
  model.v_head_dim = 128;
  return model;
}

constexpr std::array<HfKey, 16> kKeys{{
    {.key = "n_routed_experts",
     .member = &ModelOptions::num_experts,
     .model_key = "num_experts",
     .twin = "num_local_experts"},
    {"n_shared_experts", &ModelOptions::num_shared_experts, "num_shared_experts"},
    {"moe_intermediate_size", &ModelOptions::moe_intermediate_size},
    {"intermediate_size", &ModelOptions::intermediate_size},
    {"first_k_dense_replace", &ModelOptions::first_k_dense_replace},
    {"n_group", &ModelOptions::n_group},
    {"topk_group", &ModelOptions::topk_group},
    {"norm_topk_prob", &ModelOptions::norm_topk_prob},
    {"routed_scaling_factor", &ModelOptions::routed_scaling_factor},
    {"rope_interleave", &ModelOptions::rope_interleave},
    {"kv_lora_rank", &ModelOptions::kv_lora_rank},
    {"qk_nope_head_dim", &ModelOptions::qk_nope_head_dim},
    {"qk_rope_head_dim", &ModelOptions::qk_rope_head_dim},
    {"v_head_dim", &ModelOptions::v_head_dim},
    {"attention_bias", &ModelOptions::attention_bias},
    {.key = "attention_bias",
     .member = &ModelOptions::attention_output_bias,
     .model_key = "attention_output_bias",
     .unity = "its attention has biases on the latents and on o, or on none"},
}};

/// transformers does not write the last three, but other readers look for them.
constexpr std::array<HfRequired, 5> kRequired{{
    {"hidden_act", R"(["silu"])", "no other activation is known"},
    {"attention_dropout", "[0.0]", "attention has no dropout"},
    {"scoring_func", R"(["sigmoid"])", "its router knows no other"},
    {"topk_method", R"(["noaux_tc"])", "its router knows no other"},
    {"moe_layer_freq", "[1]", "all layers behind the first ones hold experts"},
}};

constexpr std::array<std::string_view, 5> kIdle{
    "auto_map",  // published models have it for transformers that did not know the family
    "ep_size",
    "num_mtp_layers",
    "num_nextn_predict_layers",
    "seq_aux",
};

constexpr std::array<HfTrait, 2> kTraits{{
    {"scoring_func", &ModelOptions::scoring_func, "its router knows sigmoid only"},
    {"use_expert_bias", &ModelOptions::use_expert_bias, "its router always has a bias of experts"},
}};

void read(HfKeys& keys, ModelOptions& model) {
  keys.take("auto_map");  // before it is refused as code of the model's own
  read_query_rank(keys, model);
  read_key_width(keys, model);
}

void write(const ModelOptions& model, HfWritten& keys) {
  write_query_rank(model, keys);
  keys["qk_head_dim"] = model.key_dim();
  keys["num_nextn_predict_layers"] = 0;
}

}  // namespace

constinit const HfFamily deepseek_v3_family{
    .model_type = "deepseek_v3",
    .architecture = "DeepseekV3ForCausalLM",
    .defaults = deepseek_v3_defaults,
    .bos = 0,
    .eos = 1,
    .pad = std::nullopt,
    .keys = kKeys,
    .required = kRequired,
    .idle = kIdle,
    .traits = kTraits,
    .dense_layers = HfDenseLayers::kFirst,
    .aux_loss_key = "aux_loss_alpha",
    .aux_loss_coef = 0.0,
    .has_further_layers = true,
    .hooks = {read, write, refuse_groups_of_two_best},
};

}  // namespace enodia
