#include <array>

#include "checkpoint/hf/hf_description.h"

namespace enodia {
namespace {

/// As MixtralConfig of transformers 5.23.0.
ModelOptions mixtral_defaults() {
  ModelOptions model;
  model.vocab_size = 32000;
  model.hidden_size = 4096;
  model.intermediate_size = 14336;
  model.moe_intermediate_size = 14336;
  model.num_hidden_layers = 32;
  model.num_attention_heads = 32;
  model.num_key_value_heads = 8;
  model.num_experts = 8;
  model.num_experts_per_tok = 2;
  model.max_position_embeddings = 131072;
  model.initializer_range = 0.02;
  model.rms_norm_eps = 1e-5;
  model.rope_theta = 1e6;
  model.tie_word_embeddings = false;
  model.use_qk_norm = false;
  model.attention_bias = false;
  model.norm_topk_prob = true;
  return model;
}

constexpr std::array<HfKey, 3> kKeys{{
    {.key = "num_local_experts",
     .member = &ModelOptions::num_experts,
     .model_key = "num_experts",
     .twin = "num_experts"},
    // One key for both, since no layer is dense.
    {"intermediate_size", &ModelOptions::moe_intermediate_size, "moe_intermediate_size"},
    {"intermediate_size", &ModelOptions::intermediate_size},
}};

constexpr std::array<HfRequired, 3> kRequired{{
    {"hidden_act", R"(["silu"])", "no other activation is known"},
    {"attention_dropout", "[0.0]", "attention has no dropout"},
    {"router_jitter_noise", "[0.0, null]", "the router has no noise"},
}};

constexpr std::array<HfTrait, 1> kTraits{{
    {"norm_topk_prob", &ModelOptions::norm_topk_prob, "its router always renormalizes"},
}};

constexpr std::array<HfRename, 4> kRenames{{
    {".mlp.", ".block_sparse_moe."},
    {".gate_proj.", ".w1."},
    {".up_proj.", ".w3."},
    {".down_proj.", ".w2."},
}};

}  // namespace

constinit const HfFamily mixtral_family{
    .model_type = "mixtral",
    .architecture = "MixtralForCausalLM",
    .defaults = mixtral_defaults,
    .bos = 1,
    .eos = 2,
    .pad = std::nullopt,
    .keys = kKeys,
    .required = kRequired,
    .idle = {},
    .traits = kTraits,
    .sliding_window = HfSlidingWindow{.has_switch = false, .absent = std::nullopt},
    .renames = kRenames,
};

}  // namespace enodia
