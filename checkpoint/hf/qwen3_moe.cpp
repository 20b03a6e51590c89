#include <array>

#include "checkpoint/hf/hf_description.h"

namespace enodia {
namespace {

/// As Qwen3MoeConfig of transformers 5.23.0.
ModelOptions qwen3_moe_defaults() {
  ModelOptions model;
  model.vocab_size = 151936;
  model.hidden_size = 2048;
  model.intermediate_size = 6144;
  model.moe_intermediate_size = 768;
  model.num_hidden_layers = 24;
  model.num_attention_heads = 32;
  model.num_key_value_heads = 4;
  model.num_experts = 128;
  model.num_experts_per_tok = 8;
  model.norm_topk_prob = false;
  model.max_position_embeddings = 32768;
  model.initializer_range = 0.02;
  model.rms_norm_eps = 1e-6;
  model.rope_theta = 10000.0;
  model.tie_word_embeddings = false;
  model.use_qk_norm = true;
  model.attention_bias = false;
  return model;
}

constexpr std::array<HfKey, 6> kKeys{{
    // transformers 4 writes num_experts, transformers 5 num_local_experts.
    {.key = "num_experts", .member = &ModelOptions::num_experts, .twin = "num_local_experts"},
    {"moe_intermediate_size", &ModelOptions::moe_intermediate_size},
    {"intermediate_size", &ModelOptions::intermediate_size},
    {"norm_topk_prob", &ModelOptions::norm_topk_prob},
    {"attention_bias", &ModelOptions::attention_bias},
    {.key = "attention_bias",
     .member = &ModelOptions::attention_output_bias,
     .model_key = "attention_output_bias",
     .unity = "its attention has biases on all four projections or on none"},
}};

constexpr std::array<HfRequired, 2> kRequired{{
    {"hidden_act", R"(["silu"])", "no other activation is known"},
    {"attention_dropout", "[0.0]", "attention has no dropout"},
}};

constexpr std::array<std::string_view, 1> kIdle{
    "max_window_layers",  // which layers have the sliding window
};

constexpr std::array<HfTrait, 1> kTraits{{
    {"use_qk_norm", &ModelOptions::use_qk_norm, "its attention always has norms of q and k"},
}};

}  // namespace

constinit const HfFamily qwen3_moe_family{
    .model_type = "qwen3_moe",
    .architecture = "Qwen3MoeForCausalLM",
    .defaults = qwen3_moe_defaults,
    .bos = std::nullopt,
    .eos = std::nullopt,
    .pad = std::nullopt,
    .keys = kKeys,
    .required = kRequired,
    .idle = kIdle,
    .traits = kTraits,
    .dense_layers = HfDenseLayers::kListed,
    .sliding_window = HfSlidingWindow{.has_switch = true, .absent = 4096},
};

}  // namespace enodia
