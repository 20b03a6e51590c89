#include <algorithm>

#include <gtest/gtest.h>

#include "checkpoint/hf/hf_description.h"
#include "checkpoint/hf/hf_folder.h"
#include "checkpoint/safetensors/safetensors_folder.h"
#include "checkpoint/safetensors/safetensors_writer.h"

#include "hf_models.h"
#include "states.h"

namespace enodia {
namespace {

Json with_rope(Json json, const std::string& key, const Json& value) {
  json["rope_parameters"][key] = value;
  return json;
}

TEST(HfFamilies, ReadThePublishedDeepSeekV2Lite) {
  const HfConfig config = config_of(deepseek_v2_lite());
  const ModelOptions& model = config.model;
  EXPECT_EQ(name_of(*config.family), "deepseek_v2");
  EXPECT_TRUE(model.is_latent());
  EXPECT_EQ(model.q_lora_rank, 0);
  EXPECT_EQ(model.kv_lora_rank, 512);
  EXPECT_EQ(model.key_dim(), 192);
  EXPECT_EQ(model.num_experts, 64);
  EXPECT_EQ(model.shared_width(), 2816);
  EXPECT_EQ(model.first_k_dense_replace, 1);
  EXPECT_EQ(model.scoring_func, "softmax");
  EXPECT_FALSE(model.norm_topk_prob || model.use_expert_bias);
  EXPECT_TRUE(model.rope_interleave);
  EXPECT_EQ(model.rope_scaling, "yarn");
  EXPECT_EQ(model.rope_factor, 40);
  EXPECT_EQ(model.rope_original_max_position_embeddings, 4096);
  EXPECT_EQ(model.rope_mscale_all_dim, 0.707);
  EXPECT_EQ(config.router_aux_loss_coef, 0.001);
}

TEST(HfFamilies, ReadThePublishedDeepSeekV3) {
  const ModelOptions model = config_of(deepseek_v3()).model;
  EXPECT_EQ(model.q_lora_rank, 1536);
  EXPECT_EQ(model.n_group, 8);
  EXPECT_EQ(model.topk_group, 4);
  EXPECT_EQ(model.group_score, "top2_sum");
  EXPECT_EQ(model.scoring_func, "sigmoid");
  EXPECT_TRUE(model.use_expert_bias && model.norm_topk_prob);
  EXPECT_EQ(model.routed_scaling_factor, 2.5);
  const Json quantized = with(deepseek_v3(), "quantization_config", {{"quant_method", "fp8"}});
  EXPECT_NE(refusal_of(quantized).find("quantized weights cannot be read"), std::string::npos);
}

TEST(HfFamilies, TakeTheDefaultsOfTransformersForWhatIsLeftOut) {
  const HfConfig olmoe = config_of({{"model_type", "olmoe"}});
  EXPECT_EQ(olmoe.model.num_key_value_heads, 16);
  EXPECT_EQ(olmoe.model.qk_norm, "full");
  EXPECT_EQ(olmoe.router_aux_loss_coef, 0.01);
  EXPECT_EQ(olmoe.token_ids.pad, 1);
  const ModelOptions qwen = config_of({{"model_type", "qwen2_moe"}}).model;
  EXPECT_TRUE(qwen.attention_bias && qwen.shared_expert_gate && !qwen.attention_output_bias);
  EXPECT_EQ(qwen.shared_width(), 5632);
  const ModelOptions v3 = config_of({{"model_type", "deepseek_v3"}}).model;
  EXPECT_EQ(v3.first_k_dense_replace, 3);
  EXPECT_EQ(v3.head_dim, 64);
  const ModelOptions glm = config_of({{"model_type", "glm4_moe"}, {"head_dim", 128}}).model;
  EXPECT_EQ(glm.partial_rotary_factor, 0.5);
  EXPECT_TRUE(glm.use_expert_bias);
}

TEST(HfFamilies, KnowBothPlacesOfWhatRotates) {
  Json older = small_deepseek_v2();
  Json scaling = older["rope_parameters"];
  older.erase("rope_parameters");
  scaling.erase("rope_theta");
  scaling["type"] = scaling["rope_type"];
  scaling.erase("rope_type");
  older["rope_scaling"] = scaling;
  older["rope_theta"] = 10000;
  EXPECT_TRUE(config_of(older).model == config_of(small_deepseek_v2()).model);
  Json glm = small_glm4_moe();
  glm["rope_parameters"].erase("partial_rotary_factor");
  glm["partial_rotary_factor"] = 0.2;
  EXPECT_EQ(config_of(glm).model.partial_rotary_factor, 0.2);
  glm["rope_parameters"]["partial_rotary_factor"] = 0.5;
  EXPECT_NE(refusal_of(glm).find("partial_rotary_factor"), std::string::npos);
}

TEST(HfFamilies, ReadWhatYarnLeavesOutAsTransformersDoes) {
  const Json yarn{{"rope_type", "yarn"}, {"factor", 2.5}};
  const ModelOptions model = config_of(with(small_olmoe(), "rope_parameters", yarn)).model;
  EXPECT_EQ(model.rope_original_max_position_embeddings, 64);
  EXPECT_EQ(model.rope_beta_fast, 32);
  EXPECT_EQ(model.rope_beta_slow, 1);
  EXPECT_EQ(model.rope_mscale, 0);
  EXPECT_EQ(model.rope_attention_factor, 0);
  EXPECT_TRUE(model.rope_truncate);
  const Json base = small_deepseek_v2();
  EXPECT_EQ(config_of(with_rope(base, "beta_fast", 0)).model.rope_beta_fast, 32);
  EXPECT_EQ(config_of(with_rope(base, "mscale", nullptr)).model.rope_mscale, 0);
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, Json>>{{"factor", nullptr},
                                                 {"factor", 0.5},
                                                 {"beta_slow", -1},
                                                 {"attention_factor", 0},
                                                 {"truncate", nullptr},
                                                 {"rope_theta", 1},
                                                 {"low_freq_factor", 1}}) {
    EXPECT_NE(refusal_of(with_rope(base, key, value)).find(key), std::string::npos) << key << value;
  }
}

/// What would change the mathematics is refused by name.
TEST(HfFamilies, RefuseWhatTheyCannotExpress) {
  const std::vector<std::tuple<Json, const char*, Json>> changes{
      {small_olmoe(), "clip_qkv", 8.0},
      {small_olmoe(), "head_dim", 18},
      {small_olmoe(), "use_qk_norm", true},
      {small_qwen2_moe(), "shared_expert_intermediate_size", 0},
      {small_qwen2_moe(), "shared_expert_intermediate_size", nullptr},
      {small_qwen2_moe(), "attention_bias", true},
      {small_glm4_moe(), "n_group", 8},
      {small_glm4_moe(), "n_group", 3},
      {small_glm4_moe(), "topk_group", 3},
      {small_glm4_moe(), "n_routed_experts", 0},
      {small_glm4_moe(), "partial_rotary_factor", 0.3},
      {small_glm4_moe(), "scoring_func", "sigmoid"},
      {small_deepseek_v2(), "norm_topk_prob", true},
      {small_deepseek_v2(), "scoring_func", "sigmoid"},
      {small_deepseek_v2(), "topk_method", "noaux_tc"},
      {small_deepseek_v2(), "topk_method", nullptr},
      {small_deepseek_v2(), "n_group", nullptr},
      {small_deepseek_v2(), "mlp_bias", true},
      {small_deepseek_v2(), "hidden_size", 49},
      {small_deepseek_v2(), "q_lora_rank", 0},
      {small_deepseek_v2(), "rope_interleave", false},
      {small_deepseek_v3(), "scoring_func", "softmax"},
      {small_deepseek_v3(), "topk_method", "greedy"},
      {small_deepseek_v3(), "moe_layer_freq", 2},
      {small_deepseek_v3(), "num_key_value_heads", 1},
      {small_deepseek_v3(), "head_dim", 16},
      {small_deepseek_v3(), "qk_head_dim", 17},
      {small_deepseek_v3(), "qk_rope_head_dim", 5},
      {small_deepseek_v3(), "n_group", nullptr},
  };
  for (const auto& [json, key, value] : changes) {
    const std::string refusal = refusal_of(with(json, key, value));
    EXPECT_NE(refusal.find(key), std::string::npos) << key << " " << value << ": " << refusal;
  }
  Json without_count = small_deepseek_v2();
  without_count.erase("num_experts_per_tok");
  EXPECT_NE(refusal_of(without_count).find("num_experts_per_tok must be given"), std::string::npos);
}

TEST(HfFamilies, WriteWhatOtherReadersLookFor) {
  const Json v3 = write_hf_config(config_of(small_deepseek_v3()));
  EXPECT_EQ(v3["scoring_func"], "sigmoid");
  EXPECT_EQ(v3["topk_method"], "noaux_tc");
  EXPECT_EQ(v3["num_nextn_predict_layers"], 0);
  EXPECT_EQ(v3["n_routed_experts"], 8);
  EXPECT_EQ(v3["head_dim"], 6);
  EXPECT_FALSE(v3.contains("sliding_window"));
  const Json v2 = write_hf_config(config_of(small_deepseek_v2()));
  EXPECT_EQ(v2["topk_method"], "group_limited_greedy");
  EXPECT_EQ(v2["scoring_func"], "softmax");
  EXPECT_EQ(v2["rope_scaling"]["type"], "yarn");
  EXPECT_EQ(v2["rope_scaling"]["mscale_all_dim"], 0.7);
  EXPECT_FALSE(v2["rope_scaling"].contains("rope_theta"));
  EXPECT_EQ(write_hf_config(config_of(deepseek_v2_lite()))["q_lora_rank"], nullptr);
  const Json glm = write_hf_config(config_of(small_glm4_moe()));
  EXPECT_EQ(glm["partial_rotary_factor"], 0.5);
  EXPECT_EQ(glm["rope_parameters"]["partial_rotary_factor"], 0.5);
}

TEST(HfFamilies, HoldEveryTensorUnderItsNameInTheFamily) {
  for (const Json& json : small_models()) {
    const ScratchFolder scratch;
    const HfConfig config = config_of(json);
    write_hf_model(scratch.path(), config, NumberedWeights(), {});
    const HfFolder folder(scratch.path());
    for (const ParameterShape& parameter : list_parameters(config.model)) {
      EXPECT_EQ(whole_of(folder, parameter), whole_of(NumberedWeights(), parameter))
          << name_of(*config.family) << " " << parameter.name;
    }
  }
  const auto holds = [](const Json& json, const char* name) {
    const ScratchFolder scratch;
    write_hf_model(scratch.path(), config_of(json), NumberedWeights(), {});
    return SafetensorsFolder::open(scratch.path()).find(name) != nullptr;
  };
  EXPECT_TRUE(holds(small_qwen2_moe(), "model.layers.0.mlp.shared_expert.up_proj.weight"));
  EXPECT_TRUE(holds(small_qwen2_moe(), "model.layers.0.mlp.shared_expert_gate.weight"));
  EXPECT_TRUE(holds(small_deepseek_v3(), "model.layers.1.mlp.shared_experts.up_proj.weight"));
  EXPECT_TRUE(holds(small_deepseek_v3(), "model.layers.0.self_attn.kv_a_proj_with_mqa.weight"));
  EXPECT_TRUE(holds(small_glm4_moe(), "model.layers.1.mlp.experts.7.gate_proj.weight"));
}

TEST(HfFamilies, KeepTheBiasOfExpertsInFloat32) {
  const ScratchFolder scratch;
  write_hf_model(scratch.path(),
                 config_of(small_deepseek_v3()),
                 NumberedWeights(),
                 {.dtype = DType::kBFloat16});
  const std::string name = "model.layers.2.mlp.gate.e_score_correction_bias";
  EXPECT_EQ(SafetensorsFolder::open(scratch.path()).find(name)->type, "F32");
  EXPECT_EQ(whole_of(HfFolder(scratch.path()), {name, {8}}),
            whole_of(NumberedWeights(), {name, {8}}));
}

/// Writes a model with one more layer, and says afterwards that it has one less.
std::string refusal_with_a_further_layer(Json json) {
  const ScratchFolder scratch;
  const int64_t layers = json["num_hidden_layers"].get<int64_t>();
  json["num_hidden_layers"] = layers + 1;
  json.erase("layer_types");
  write_hf_model(scratch.path(), config_of(json), NumberedWeights(), {});
  json["num_hidden_layers"] = layers;
  put_content(scratch.path() / "config.json", json.dump());
  return file_error_of([&] { HfFolder{scratch.path()}; });
}

TEST(HfFamilies, PassOverLayersThatPredictFurtherTokens) {
  EXPECT_EQ(refusal_with_a_further_layer(small_glm4_moe()), "");
  EXPECT_EQ(refusal_with_a_further_layer(small_deepseek_v3()), "");
  for (const Json& json : {small_deepseek_v2(), small_qwen2_moe(), small_olmoe()}) {
    EXPECT_NE(refusal_with_a_further_layer(json).find("have no place"), std::string::npos);
  }
}

TEST(HfFamilies, TellWhyAModelIsNotOfThem) {
  ModelOptions model = config_of(small_deepseek_v3()).model;
  model.group_score = "max";
  EXPECT_NE(family_refusal(deepseek_v3_family, model).find("group_score (max) must be top2_sum"),
            std::string::npos);
  EXPECT_NE(family_refusal(glm4_moe_family, model).find("model.attention is mla"),
            std::string::npos);
  EXPECT_NE(family_refusal(deepseek_v2_family, model).find("model.use_expert_bias is true"),
            std::string::npos);
  model.num_experts = 2;
  EXPECT_NE(family_refusal(deepseek_v3_family, model).find("num_experts (2)"), std::string::npos);
  ModelOptions shared = config_of(small_qwen2_moe()).model;
  shared.num_shared_experts = 3;
  shared.shared_expert_intermediate_size = 0;
  EXPECT_EQ(family_refusal(qwen2_moe_family, shared), "");  // one expert of their width
  shared.num_shared_experts = 0;
  EXPECT_NE(family_refusal(qwen2_moe_family, shared).find("num_shared_experts is 0"),
            std::string::npos);
}

}  // namespace
}  // namespace enodia
