#include <array>
#include <string>

#include "checkpoint/hf/hf_description.h"

namespace enodia {
namespace {

/// As Qwen2MoeConfig of transformers 5.23.0.
ModelOptions qwen2_moe_defaults() {
  ModelOptions model;
  model.vocab_size = 151936;
  model.hidden_size = 2048;
  model.intermediate_size = 5632;
  model.moe_intermediate_size = 1408;
  model.num_hidden_layers = 24;
  model.num_attention_heads = 16;
  model.num_key_value_heads = 16;
  model.num_experts = 60;
  model.num_experts_per_tok = 4;
  model.num_shared_experts = 1;
  model.shared_expert_intermediate_size = 5632;
  model.shared_expert_gate = true;
  model.norm_topk_prob = false;
  model.max_position_embeddings = 32768;
  model.initializer_range = 0.02;
  model.rms_norm_eps = 1e-6;
  model.rope_theta = 10000.0;
  model.tie_word_embeddings = false;
  model.use_qk_norm = false;
  model.attention_bias = true;
  return model;
}

constexpr std::array<HfKey, 5> kKeys{{
    {.key = "num_experts", .member = &ModelOptions::num_experts, .twin = "num_local_experts"},
    {"moe_intermediate_size", &ModelOptions::moe_intermediate_size},
    {"intermediate_size", &ModelOptions::intermediate_size},
    {"norm_topk_prob", &ModelOptions::norm_topk_prob},
    {"qkv_bias", &ModelOptions::attention_bias, "attention_bias"},
}};

constexpr std::array<HfRequired, 2> kRequired{{
    {"hidden_act", R"(["silu"])", "no other activation is known"},
    {"attention_dropout", "[0.0]", "attention has no dropout"},
}};

constexpr std::array<std::string_view, 1> kIdle{
    "max_window_layers",  // which layers have the sliding window
};

constexpr std::array<HfTrait, 2> kTraits{{
    {"attention_output_bias",
     &ModelOptions::attention_output_bias,
     "its attention has no bias on o"},
    {"shared_expert_gate",
     &ModelOptions::shared_expert_gate,
     "its shared expert always has a gate"},
}};

constexpr std::array<HfRename, 1> kRenames{{
    {".shared_experts.", ".shared_expert."},
}};

constexpr std::array<std::string_view, 2> kTold{
    "num_shared_experts",
    "shared_expert_intermediate_size",
};

constexpr std::string_view kWidth = "shared_expert_intermediate_size";

void read_shared_expert(HfKeys& keys, ModelOptions& model) {
  const Json* width = keys.take(kWidth);
  if (width == nullptr) {
    return;
  }
  model.shared_expert_intermediate_size = keys.integer(kWidth, *width).value_or(1);
  if (model.shared_expert_intermediate_size == 0) {
    keys.refuse(kWidth, *width, "must be at least 1");
  }
}

void write_shared_expert(const ModelOptions& model, HfWritten& keys) {
  keys[std::string(kWidth)] = model.shared_width();
}

std::vector<std::string> refuse_none_shared(const ModelOptions& model) {
  if (model.shared_width() > 0) {
    return {};
  }
  return {"model.num_shared_experts is 0, but it always has a shared expert"};
}

}  // namespace

constinit const HfFamily qwen2_moe_family{
    .model_type = "qwen2_moe",
    .architecture = "Qwen2MoeForCausalLM",
    .defaults = qwen2_moe_defaults,
    .bos = std::nullopt,
    .eos = std::nullopt,
    .pad = std::nullopt,
    .keys = kKeys,
    .required = kRequired,
    .idle = kIdle,
    .traits = kTraits,
    .dense_layers = HfDenseLayers::kListed,
    .sliding_window = HfSlidingWindow{.has_switch = true, .absent = 4096},
    .renames = kRenames,
    .told = kTold,
    .hooks = {read_shared_expert, write_shared_expert, refuse_none_shared},
};

}  // namespace enodia
