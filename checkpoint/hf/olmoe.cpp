#include <array>
#include <string>

#include "checkpoint/hf/hf_description.h"

namespace enodia {
namespace {

/// As OlmoeConfig of transformers 5.23.0.
ModelOptions olmoe_defaults() {
  ModelOptions model;
  model.vocab_size = 50304;
  model.hidden_size = 2048;
  model.intermediate_size = 2048;
  model.moe_intermediate_size = 2048;
  model.num_hidden_layers = 16;
  model.num_attention_heads = 16;
  model.num_key_value_heads = 0;  // as many as heads
  model.num_experts = 64;
  model.num_experts_per_tok = 8;
  model.norm_topk_prob = false;
  model.max_position_embeddings = 4096;
  model.initializer_range = 0.02;
  model.rms_norm_eps = 1e-5;
  model.rope_theta = 10000.0;
  model.tie_word_embeddings = false;
  model.use_qk_norm = true;
  model.qk_norm = "full";
  model.attention_bias = false;
  return model;
}

constexpr std::array<HfKey, 6> kKeys{{
    {.key = "num_experts", .member = &ModelOptions::num_experts, .twin = "num_local_experts"},
    // One key for both, since no layer is dense.
    {"intermediate_size", &ModelOptions::moe_intermediate_size, "moe_intermediate_size"},
    {"intermediate_size", &ModelOptions::intermediate_size},
    {"norm_topk_prob", &ModelOptions::norm_topk_prob},
    {"attention_bias", &ModelOptions::attention_bias},
    {.key = "attention_bias",
     .member = &ModelOptions::attention_output_bias,
     .model_key = "attention_output_bias",
     .unity = "its attention has biases on all four projections or on none"},
}};

constexpr std::array<HfRequired, 3> kRequired{{
    {"hidden_act", R"(["silu"])", "no other activation is known"},
    {"attention_dropout", "[0.0]", "attention has no dropout"},
    {"clip_qkv", "[null]", "q, k and v are not clipped"},
}};

constexpr std::array<HfTrait, 2> kTraits{{
    {"use_qk_norm", &ModelOptions::use_qk_norm, "its attention always has norms of q and k"},
    {"qk_norm", &ModelOptions::qk_norm, "its norms of q and k are of all heads together"},
}};

/// transformers makes those norms hidden_size wide.
std::vector<std::string> refuse_other_widths(const ModelOptions& model) {
  if (model.head_dim * model.num_attention_heads == model.hidden_size) {
    return {};
  }
  return {"head_dim (" + std::to_string(model.head_dim) + ") times num_attention_heads (" +
          std::to_string(model.num_attention_heads) + ") must be hidden_size (" +
          std::to_string(model.hidden_size) + ") in this family"};
}

}  // namespace

constinit const HfFamily olmoe_family{
    .model_type = "olmoe",
    .architecture = "OlmoeForCausalLM",
    .defaults = olmoe_defaults,
    .bos = std::nullopt,
    .eos = 50279,
    .pad = 1,
    .keys = kKeys,
    .required = kRequired,
    .idle = {},
    .traits = kTraits,
    .aux_loss_coef = 0.01,
    .hooks = {.refuse = refuse_other_widths},
};

}  // namespace enodia
