#include <array>
#include <string>

#include "checkpoint/hf/hf_description.h"
#include "checkpoint/hf/hf_layer_keys.h"

namespace enodia {
namespace {

/// As DeepseekV2Config of transformers 5.23.0.
ModelOptions deepseek_v2_defaults() {
  ModelOptions model;
  model.vocab_size = 102400;
  model.hidden_size = 4096;
  model.intermediate_size = 11008;
  model.moe_intermediate_size = 1407;
  model.num_hidden_layers = 32;
  model.num_attention_heads = 32;
  model.num_key_value_heads = 0;  // as many as heads
  model.num_experts = 64;
  model.num_shared_experts = 2;
  model.first_k_dense_replace = 0;
  model.norm_topk_prob = false;
  model.group_score = "max";
  model.max_position_embeddings = 2048;
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

constexpr std::array<HfKey, 12> kKeys{{
    {.key = "n_routed_experts",
     .member = &ModelOptions::num_experts,
     .model_key = "num_experts",
     .twin = "num_experts"},
    {"n_shared_experts", &ModelOptions::num_shared_experts, "num_shared_experts"},
    {"moe_intermediate_size", &ModelOptions::moe_intermediate_size},
    {"intermediate_size", &ModelOptions::intermediate_size},
    {"first_k_dense_replace", &ModelOptions::first_k_dense_replace},
    {"routed_scaling_factor", &ModelOptions::routed_scaling_factor},
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

/// transformers does not write the last two, but other readers look for them.
constexpr std::array<HfRequired, 5> kRequired{{
    {"hidden_act", R"(["silu"])", "no other activation is known"},
    {"attention_dropout", "[0.0]", "attention has no dropout"},
    {"norm_topk_prob", "[false]", "transformers never renormalizes in this family"},
    {"scoring_func", R"(["softmax"])", "its router knows no other"},
    {"moe_layer_freq", "[1]", "all layers behind the first ones hold experts"},
}};

constexpr std::array<std::string_view, 2> kIdle{"ep_size", "seq_aux"};

constexpr std::array<HfTrait, 2> kTraits{{
    {"norm_topk_prob", &ModelOptions::norm_topk_prob, "its router never renormalizes"},
    {"rope_interleave", &ModelOptions::rope_interleave, "it rotates pairs of neighbours"},
}};

constexpr std::array<std::string_view, 2> kTold{"n_group", "topk_group"};

constexpr const char* kPlain = "greedy";
constexpr const char* kGrouped = "group_limited_greedy";

/// Without groups their numbers have no effect, whatever they are.
void read_groups(HfKeys& keys, ModelOptions& model) {
  const Json* method = keys.take("topk_method");
  const bool grouped = method != nullptr && *method == kGrouped;
  if (method != nullptr && !grouped && *method != kPlain) {
    keys.refuse("topk_method", *method, "must be \"greedy\" or \"group_limited_greedy\"");
  }
  const auto read_count = [&](const char* key, int64_t& member) {
    const Json* count = keys.take(key);
    if (grouped && count == nullptr) {
      keys.refuse(std::string(key) + " must be given with group_limited_greedy");
    } else if (grouped) {
      member = keys.integer(key, *count).value_or(1);
    }
  };
  read_count("n_group", model.n_group);
  read_count("topk_group", model.topk_group);
}

void read(HfKeys& keys, ModelOptions& model) {
  keys.take("auto_map");  // before it is refused as code of the model's own
  read_groups(keys, model);
  read_query_rank(keys, model);
  read_key_width(keys, model);
  if (keys.take("num_experts_per_tok") == nullptr) {
    keys.refuse("num_experts_per_tok must be given");
  }
}

void write(const ModelOptions& model, HfWritten& keys) {
  keys["topk_method"] = model.n_group > 1 ? kGrouped : kPlain;
  keys["n_group"] = model.n_group;
  keys["topk_group"] = model.topk_group;
  write_query_rank(model, keys);
  keys["qk_head_dim"] = model.key_dim();
}

std::vector<std::string> refuse(const ModelOptions& model) {
  std::vector<std::string> sentences;
  if (model.hidden_size % model.num_attention_heads != 0) {
    sentences.push_back("hidden_size (" + std::to_string(model.hidden_size) +
                        ") must be a multiple of num_attention_heads (" +
                        std::to_string(model.num_attention_heads) +
                        ") in transformers' configuration of this family");
  }
  if (model.n_group > 1 && model.group_score != "max") {
    sentences.push_back("group_score (" + model.group_score +
                        ") must be max, since its router judges a group by its best expert");
  }
  return sentences;
}

}  // namespace

constinit const HfFamily deepseek_v2_family{
    .model_type = "deepseek_v2",
    .architecture = "DeepseekV2ForCausalLM",
    .defaults = deepseek_v2_defaults,
    .bos = 1,
    .eos = 2,
    .pad = std::nullopt,
    .keys = kKeys,
    .required = kRequired,
    .idle = kIdle,
    .traits = kTraits,
    .dense_layers = HfDenseLayers::kFirst,
    .aux_loss_key = "aux_loss_alpha",
    .aux_loss_coef = 0.0,
    .told = kTold,
    .hooks = {read, write, refuse},
};

}  // namespace enodia
