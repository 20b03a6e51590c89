#include <array>
#include <string>

#include "checkpoint/hf/hf_description.h"
#include "checkpoint/hf/hf_layer_keys.h"

namespace enodia {
namespace {

/// As Glm4MoeConfig of transformers 5.23.0.
ModelOptions glm4_moe_defaults() {
  ModelOptions model;
  model.vocab_size = 151552;
  model.hidden_size = 4096;
  model.intermediate_size = 10944;
  model.moe_intermediate_size = 1408;
  model.num_hidden_layers = 46;
  model.num_attention_heads = 96;
  model.num_key_value_heads = 8;
  model.num_experts = 128;
  model.num_experts_per_tok = 8;
  model.num_shared_experts = 1;
  model.first_k_dense_replace = 1;
  model.norm_topk_prob = true;
  model.scoring_func = "sigmoid";
  model.group_score = "top2_sum";
  model.use_expert_bias = true;
  model.max_position_embeddings = 131072;
  model.initializer_range = 0.02;
  model.rms_norm_eps = 1e-5;
  model.rope_theta = 10000.0;
  model.partial_rotary_factor = 0.5;
  model.tie_word_embeddings = false;
  model.use_qk_norm = false;
  model.attention_bias = false;
  return model;
}

constexpr std::array<HfKey, 11> kKeys{{
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
    {"use_qk_norm", &ModelOptions::use_qk_norm},
    {"attention_bias", &ModelOptions::attention_bias},
}};

constexpr std::array<HfRequired, 2> kRequired{{
    {"hidden_act", R"(["silu"])", "no other activation is known"},
    {"attention_dropout", "[0.0]", "attention has no dropout"},
}};

/// How many further layers there are; they are not read.
constexpr std::array<std::string_view, 2> kIdle{"num_nextn_predict_layers", "num_mtp_layers"};

constexpr std::array<HfTrait, 3> kTraits{{
    {"scoring_func", &ModelOptions::scoring_func, "its router knows sigmoid only"},
    {"use_expert_bias", &ModelOptions::use_expert_bias, "its router always has a bias of experts"},
    {"attention_output_bias",
     &ModelOptions::attention_output_bias,
     "its attention has no bias on o"},
}};

void write_no_further_layers(const ModelOptions& /*model*/, HfWritten& keys) {
  keys["num_nextn_predict_layers"] = 0;
}

}  // namespace

constinit const HfFamily glm4_moe_family{
    .model_type = "glm4_moe",
    .architecture = "Glm4MoeForCausalLM",
    .defaults = glm4_moe_defaults,
    .bos = std::nullopt,
    .eos = std::nullopt,
    .pad = std::nullopt,
    .keys = kKeys,
    .required = kRequired,
    .idle = kIdle,
    .traits = kTraits,
    .dense_layers = HfDenseLayers::kFirst,
    .aux_loss_coef = 0.0,
    .is_partly_rotated = true,
    .has_further_layers = true,
    .hooks = {.write = write_no_further_layers, .refuse = refuse_groups_of_two_best},
};

}  // namespace enodia
