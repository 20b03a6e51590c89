#include "checkpoint/hf/hf_config.h"

#include <limits>

#include <gtest/gtest.h>

#include "checkpoint/hf/hf_description.h"
#include "checkpoint/hf/hf_generation.h"
#include "common/rules.h"

#include "hf_models.h"
#include "states.h"

namespace enodia {
namespace {

/// All that a config.json tells, so that two can be compared.
void expect_equal(const HfConfig& a, const HfConfig& b) {
  EXPECT_EQ(a.family, b.family);
  EXPECT_TRUE(a.model == b.model) << write_hf_config(a).dump() << "\n" << write_hf_config(b).dump();
  EXPECT_EQ(a.router_aux_loss_coef, b.router_aux_loss_coef);
  EXPECT_EQ(a.dtype, b.dtype);
  EXPECT_EQ(a.token_ids.bos, b.token_ids.bos);
  EXPECT_EQ(a.token_ids.pad, b.token_ids.pad);
  EXPECT_EQ(a.token_ids.eos, b.token_ids.eos);
}

Json without(Json json, const std::string& key) {
  json.erase(key);
  return json;
}

TEST(HfConfig, ReadsThePublishedMixtral) {
  const HfConfig config = config_of(mixtral_8x7b());
  const ModelOptions& model = config.model;
  EXPECT_EQ(name_of(*config.family), "mixtral");
  EXPECT_EQ(model.hidden_size, 4096);
  EXPECT_EQ(model.head_dim, 128);  // hidden_size / num_attention_heads
  EXPECT_EQ(model.num_key_value_heads, 8);
  EXPECT_EQ(model.moe_intermediate_size, 14336);
  EXPECT_EQ(model.num_experts, 8);
  EXPECT_EQ(model.num_experts_per_tok, 2);
  EXPECT_EQ(model.rope_theta, 1e6);
  EXPECT_EQ(model.rms_norm_eps, 1e-5);
  EXPECT_EQ(model.max_position_embeddings, 32768);
  EXPECT_TRUE(model.norm_topk_prob);
  EXPECT_FALSE(model.use_qk_norm);
  EXPECT_FALSE(model.tie_word_embeddings);
  EXPECT_EQ(config.router_aux_loss_coef, 0.02);
  EXPECT_EQ(config.dtype, "bfloat16");
  EXPECT_EQ(config.token_ids.bos, 1);
  EXPECT_EQ(config.token_ids.eos, std::vector<int64_t>{2});
}

TEST(HfConfig, ReadsThePublishedQwen3Moe) {
  const HfConfig config = config_of(qwen3_30b_a3b());
  const ModelOptions& model = config.model;
  EXPECT_EQ(name_of(*config.family), "qwen3_moe");
  EXPECT_EQ(model.vocab_size, 151936);
  EXPECT_EQ(model.head_dim, 128);  // not 2048 / 32
  EXPECT_EQ(model.num_experts, 128);
  EXPECT_EQ(model.intermediate_size, 6144);
  EXPECT_EQ(model.moe_intermediate_size, 768);
  EXPECT_EQ(model.first_k_dense_replace, 0);
  EXPECT_EQ(model.rope_theta, 1e6);
  EXPECT_TRUE(model.norm_topk_prob);
  EXPECT_TRUE(model.use_qk_norm);
  EXPECT_EQ(config.token_ids.eos, std::vector<int64_t>{151645});
}

TEST(HfConfig, TakesTheDefaultsOfTransformersForWhatIsLeftOut) {
  const HfConfig mixtral = config_of({{"model_type", "mixtral"}});
  EXPECT_EQ(mixtral.model.rope_theta, 1e6);
  EXPECT_EQ(mixtral.model.num_key_value_heads, 8);
  EXPECT_EQ(mixtral.model.max_position_embeddings, 131072);
  EXPECT_EQ(mixtral.token_ids.eos, std::vector<int64_t>{2});
  const HfConfig qwen = config_of({{"model_type", "qwen3_moe"}});
  EXPECT_EQ(qwen.model.rope_theta, 1e4);
  EXPECT_EQ(qwen.model.head_dim, 64);
  EXPECT_FALSE(qwen.model.norm_topk_prob);
  EXPECT_TRUE(qwen.token_ids.eos.empty());
  // Null is not the same as left out.
  EXPECT_EQ(
      config_of(with(mixtral_8x7b(), "num_key_value_heads", nullptr)).model.num_key_value_heads,
      32);
  EXPECT_TRUE(config_of(with(mixtral_8x7b(), "eos_token_id", nullptr)).token_ids.eos.empty());
}

TEST(HfConfig, KnowsTheNamesOfTransformersFourAndFive) {
  for (const Json& newer : {small_mixtral(), small_qwen3_moe()}) {
    Json older = without(without(without(newer, "rope_parameters"), "dtype"), "num_local_experts");
    older["rope_theta"] = 10000;
    older["rope_scaling"] = nullptr;
    older["torch_dtype"] = "float32";
    older["num_experts"] = 5;
    expect_equal(config_of(older), config_of(newer));
    older["rope_scaling"] = {{"type", "default"}};
    expect_equal(config_of(older), config_of(newer));
  }
}

TEST(HfConfig, ReadsWhatItWrites) {
  Json dense_first = small_qwen3_moe();
  dense_first["mlp_only_layers"] = {0};
  Json tokens = small_qwen3_moe();
  tokens["eos_token_id"] = {3, 4};
  tokens["pad_token_id"] = 0;
  tokens["tie_word_embeddings"] = true;
  tokens["norm_topk_prob"] = true;
  for (const Json& json : {mixtral_8x7b(),
                           qwen3_30b_a3b(),
                           small_mixtral(),
                           small_qwen3_moe(),
                           small_qwen2_moe(),
                           small_olmoe(),
                           small_glm4_moe(),
                           small_deepseek_v2(),
                           small_deepseek_v3(),
                           dense_first,
                           tokens,
                           with(small_mixtral(), "eos_token_id", nullptr),
                           with(small_qwen3_moe(), "rms_norm_eps", 1.1e-7)}) {
    const HfConfig config = config_of(json);
    const Json written = write_hf_config(config);
    expect_equal(config_of(written), config);
    for (const auto& [key, value] : json.items()) {
      const bool of_the_writer = key == "transformers_version" || key == "max_window_layers" ||
                                 key == "rope_scaling" || key == "layer_types" ||
                                 key == "mlp_bias" || key == "pretraining_tp";
      EXPECT_TRUE(of_the_writer || written.contains(key)) << key;
    }
  }
}

ModelOptions& as_yarn(ModelOptions& model) {
  model.rope_scaling = "yarn";
  return model;
}

/// The same model with the values that a config.json of its family gives to members without use.
ModelOptions told_by(const HfFamily& family, ModelOptions model) {
  const ModelOptions defaults = family.defaults();
  if (name_of(family) == "mixtral" || name_of(family) == "olmoe") {
    model.intermediate_size = model.moe_intermediate_size;  // one key for both
  }
  if (name_of(family) == "qwen2_moe") {
    model.shared_expert_intermediate_size = model.shared_width();
  }
  if (model.is_latent()) {
    model.head_dim = model.qk_rope_head_dim;
  }
  if (model.n_group == 1) {
    model.group_score = defaults.group_score;
  }
  if (model.rope_scaling == "none") {
    model.rope_factor = defaults.rope_factor;
    model.rope_original_max_position_embeddings = defaults.rope_original_max_position_embeddings;
    model.rope_beta_fast = defaults.rope_beta_fast;
    model.rope_beta_slow = defaults.rope_beta_slow;
    model.rope_mscale = model.rope_mscale_all_dim = 0;
  }
  return model;
}

/// What a writer of config.json might forget shows here when ModelOptions gets a new member.
TEST(HfConfig, HoldsEveryMemberOfAModelOrRefusesIt) {
  const std::vector<std::pair<const char*, void (*)(ModelOptions&)>> changes{
      {"vocab_size", [](ModelOptions& m) { m.vocab_size += 1; }},
      {"hidden_size", [](ModelOptions& m) { m.hidden_size += 2; }},
      {"num_hidden_layers", [](ModelOptions& m) { m.num_hidden_layers += 1; }},
      {"num_attention_heads", [](ModelOptions& m) { m.num_attention_heads += 1; }},
      {"num_key_value_heads", [](ModelOptions& m) { m.num_key_value_heads = 3; }},
      {"head_dim", [](ModelOptions& m) { m.head_dim += 2; }},
      {"intermediate_size", [](ModelOptions& m) { m.intermediate_size += 1; }},
      {"moe_intermediate_size", [](ModelOptions& m) { m.moe_intermediate_size += 1; }},
      {"num_experts", [](ModelOptions& m) { m.num_experts += 1; }},
      {"no experts", [](ModelOptions& m) { m.num_experts = 0; }},
      {"num_experts_per_tok", [](ModelOptions& m) { m.num_experts_per_tok += 1; }},
      {"num_shared_experts", [](ModelOptions& m) { m.num_shared_experts = 1; }},
      {"first_k_dense_replace", [](ModelOptions& m) { m.first_k_dense_replace = 1; }},
      {"all dense", [](ModelOptions& m) { m.first_k_dense_replace = m.num_hidden_layers; }},
      {"norm_topk_prob", [](ModelOptions& m) { m.norm_topk_prob = !m.norm_topk_prob; }},
      {"scoring_func", [](ModelOptions& m) { m.scoring_func = "sigmoid"; }},
      {"routed_scaling_factor", [](ModelOptions& m) { m.routed_scaling_factor = 2.5; }},
      {"rope_theta", [](ModelOptions& m) { m.rope_theta = 12345.5; }},
      {"rms_norm_eps", [](ModelOptions& m) { m.rms_norm_eps = 3e-7; }},
      {"initializer_range", [](ModelOptions& m) { m.initializer_range = 0.011; }},
      {"tie_word_embeddings", [](ModelOptions& m) { m.tie_word_embeddings = true; }},
      {"attention_bias", [](ModelOptions& m) { m.attention_bias = true; }},
      {"attention_output_bias", [](ModelOptions& m) { m.attention_output_bias = true; }},
      {"both biases", [](ModelOptions& m) { m.attention_bias = m.attention_output_bias = true; }},
      {"attention", [](ModelOptions& m) { m.attention = "sparse"; }},
      {"router", [](ModelOptions& m) { m.router = "cosine"; }},
      {"use_qk_norm", [](ModelOptions& m) { m.use_qk_norm = !m.use_qk_norm; }},
      {"qk_norm", [](ModelOptions& m) { m.qk_norm = m.qk_norm == "full" ? "head" : "full"; }},
      {"shared width", [](ModelOptions& m) { m.shared_expert_intermediate_size += 3; }},
      {"shared gate", [](ModelOptions& m) { m.shared_expert_gate = !m.shared_expert_gate; }},
      {"n_group", [](ModelOptions& m) { m.n_group *= 2; }},
      {"topk_group", [](ModelOptions& m) { m.topk_group = 2; }},
      {"group_score",
       [](ModelOptions& m) {
         m.n_group = 2;
         m.group_score = m.group_score == "max" ? "top2_sum" : "max";
       }},
      {"use_expert_bias", [](ModelOptions& m) { m.use_expert_bias = !m.use_expert_bias; }},
      {"partial_rotary_factor", [](ModelOptions& m) { m.partial_rotary_factor = 0.2; }},
      {"rope_interleave", [](ModelOptions& m) { m.rope_interleave = !m.rope_interleave; }},
      {"rope_scaling",
       [](ModelOptions& m) { m.rope_scaling = m.rope_scaling == "yarn" ? "none" : "yarn"; }},
      {"rope_factor", [](ModelOptions& m) { as_yarn(m).rope_factor = 3.5; }},
      {"rope length",
       [](ModelOptions& m) { as_yarn(m).rope_original_max_position_embeddings = 7; }},
      {"rope_beta_fast", [](ModelOptions& m) { as_yarn(m).rope_beta_fast = 5; }},
      {"rope_beta_slow", [](ModelOptions& m) { as_yarn(m).rope_beta_slow = 0.5; }},
      {"rope_mscale", [](ModelOptions& m) { as_yarn(m).rope_mscale = 0.3; }},
      {"rope_mscale_all_dim", [](ModelOptions& m) { as_yarn(m).rope_mscale_all_dim = 0.3; }},
      {"rope_attention_factor", [](ModelOptions& m) { as_yarn(m).rope_attention_factor = 1.5; }},
      {"rope_truncate", [](ModelOptions& m) { as_yarn(m).rope_truncate = false; }},
      {"mla",
       [](ModelOptions& m) { m.attention = m.is_latent() ? kGroupedQuery : kLatentAttention; }},
      {"q_lora_rank", [](ModelOptions& m) { m.q_lora_rank = m.is_latent() ? 0 : m.q_lora_rank; }},
      {"kv_lora_rank", [](ModelOptions& m) { m.kv_lora_rank += m.is_latent() ? 1 : 0; }},
      {"qk_nope_head_dim", [](ModelOptions& m) { m.qk_nope_head_dim += m.is_latent() ? 1 : 0; }},
      {"v_head_dim", [](ModelOptions& m) { m.v_head_dim += m.is_latent() ? 1 : 0; }},
      {"max_position_embeddings", [](ModelOptions& m) { m.max_position_embeddings += 1; }},
  };
  // A member more needs a change more above. (dtype and settings are no part of the weights.)
  static_assert(sizeof(ModelOptions) == 560);
  int refused = 0;
  for (const Json& json : small_models()) {
    for (const auto& [what, change] : changes) {
      HfConfig config = config_of(json);
      change(config.model);
      if (!family_refusal(*config.family, config.model).empty()) {
        ++refused;
        continue;
      }
      if (!violations_of(config.model).empty()) {
        EXPECT_NE(refusal_of(write_hf_config(config)), "") << what;  // no such model
        continue;
      }
      const HfConfig again = config_of(write_hf_config(config));
      EXPECT_TRUE(again.model == told_by(*config.family, config.model))
          << what << " " << write_hf_config(config);
    }
  }
  EXPECT_EQ(refused, 123);
}

TEST(HfConfig, KnowsThatTheBiasesOfQwen3MoeGoTogether) {
  const ModelOptions biased = config_of(with(small_qwen3_moe(), "attention_bias", true)).model;
  EXPECT_TRUE(biased.attention_bias && biased.attention_output_bias);
  const ModelOptions plain = config_of(small_qwen3_moe()).model;
  EXPECT_FALSE(plain.attention_bias || plain.attention_output_bias);
}

/// Nothing that stands in a config.json may be passed over: a value that transformers would heed
/// changes what is read, or is refused by name.
TEST(HfConfig, RefusesWhatItCannotExpress) {
  const std::vector<std::pair<const char*, const char*>> changes{
      {"hidden_act", R"("gelu")"},
      {"attention_dropout", "0.1"},
      {"rope_scaling", R"({"rope_type": "yarn", "factor": 4.0})"},  // rope_parameters has none
      {"rope_scaling", R"({"rope_type": "dynamic", "factor": 4.0})"},
      {"rope_scaling", R"({"type": "linear", "factor": 2.0})"},
      {"rope_scaling", R"({"mrope_section": [1, 2]})"},
      {"rope_scaling", R"({"rope_type": "linear"})"},
      {"rope_scaling", R"({"type": "linear"})"},
      {"rope_parameters", R"({"rope_type": "llama3", "rope_theta": 1e4})"},
      {"rope_parameters", R"({"full_attention": {"rope_theta": 1e4}})"},
      {"rope_parameters", R"({"rope_theta": 1e4, "partial_rotary_factor": 0.5})"},
      {"rope_theta", "20000.0"},
      {"layer_types", R"(["full_attention", "sliding_attention"])"},
      {"layer_types", R"(["full_attention"])"},
      {"mlp_bias", "true"},
      {"partial_rotary_factor", "0.5"},
      {"quantization_config", R"({"quant_method": "gptq", "bits": 4})"},
      {"auto_map", R"({"AutoModel": "modeling_x.X"})"},
      {"is_encoder_decoder", "true"},
      {"add_cross_attention", "true"},
      {"pruned_heads", R"({"0": [1]})"},
      {"per_layer_config", R"({"0": {"head_dim": 4}})"},
      {"architectures", R"(["LlamaForCausalLM"])"},
      {"architectures", R"(["MixtralForCausalLM", "Qwen3MoeForCausalLM"])"},
      {"num_experts", "6"},
      {"torch_dtype", R"("float16")"},
      {"dtype", R"("float8_e4m3fn")"},
      {"eos_token_id", "97"},
      {"eos_token_id", "[1, -1]"},
      {"pad_token_id", "-1"},
      {"n_shared_experts", "1"},
      {"scoring_func", R"("sigmoid")"},
      {"head_dim", "19"},
      {"num_key_value_heads", "2"},
      {"num_experts_per_tok", "6"},
      {"vocab_size", "0"},
      {"no_such_key", "null"},
  };
  for (const Json& json : {small_mixtral(), small_qwen3_moe()}) {
    for (const auto& [key, value] : changes) {
      const std::string refusal = refusal_of(with(json, key, Json::parse(value)));
      EXPECT_TRUE(refusal.starts_with("config.json: ")) << key << ": " << value;
      const bool of_a_pair = key == std::string("torch_dtype");
      EXPECT_NE(refusal.find(of_a_pair ? "dtype" : key), std::string::npos) << refusal;
    }
  }
  EXPECT_NE(refusal_of(with(small_mixtral(), "router_jitter_noise", 0.01)), "");
  EXPECT_NE(refusal_of(with(small_mixtral(), "sliding_window", 127)), "");
  EXPECT_NE(refusal_of(with(small_mixtral(), "attention_bias", true)), "");
  Json window = with(small_qwen3_moe(), "use_sliding_window", true);
  window["max_position_embeddings"] = 8192;
  EXPECT_EQ(refusal_of(window), "");
  EXPECT_NE(refusal_of(without(window, "sliding_window")).find("sliding_window"), std::string::npos)
      << "transformers has 4096 when it is left out, the window of a longer model";
}

TEST(HfConfig, TakesWhatHasNoEffect) {
  for (const Json& json : {small_mixtral(), small_qwen3_moe()}) {
    Json more = json;
    more["id2label"] = {{"0", "LABEL_0"}};
    more["_name_or_path"] = "somewhere";
    more["chunk_size_feed_forward"] = 0;
    more["output_attentions"] = true;
    more["return_dict"] = true;
    more["use_cache"] = false;
    more["temperature"] = 0.6;
    more["sliding_window"] = 128;
    more["layer_types"] = {"full_attention", "full_attention"};
    more["partial_rotary_factor"] = 1.0;
    more["attention_dropout"] = 0;
    expect_equal(config_of(more), config_of(json));
  }
  Json qwen = small_qwen3_moe();
  qwen["sliding_window"] = 4;  // not switched on
  qwen["max_window_layers"] = 1;
  expect_equal(config_of(qwen), config_of(small_qwen3_moe()));
}

TEST(HfConfig, TakesDenseLayersThatAreTheFirst) {
  struct Case {
    const char* listed;
    int step;
    int64_t first_k;  ///< -1: refused
  };
  for (const Case& c : std::vector<Case>{{"[]", 1, 0},
                                         {"null", 1, 0},
                                         {"[0, 1]", 1, 2},
                                         {"[1, 0, 0]", 1, 2},
                                         {"[0, 1, 2, 3]", 1, 4},
                                         {"[]", 5, 4},
                                         {"[]", 4, 3},
                                         {"[0, 2]", 1, -1},
                                         {"[3]", 1, -1},
                                         {"[]", 2, -1},
                                         {"[]", 0, -1},
                                         {"[4]", 1, -1},
                                         {"[-1]", 1, -1},
                                         {"[0.5]", 1, -1},
                                         {"{}", 1, -1}}) {
    Json json = with(small_qwen3_moe(), "num_hidden_layers", 4);
    json["mlp_only_layers"] = Json::parse(c.listed);
    json["decoder_sparse_step"] = c.step;
    if (c.first_k >= 0) {
      EXPECT_EQ(config_of(json).model.first_k_dense_replace, c.first_k) << c.listed << c.step;
    } else {
      const std::string refusal = refusal_of(json);
      EXPECT_TRUE(refusal.find("mlp_only_layers") != std::string::npos ||
                  refusal.find("decoder_sparse_step") != std::string::npos)
          << c.listed << c.step << refusal;
    }
  }
}

/// Whether a number has no effect on the mathematics here, so that it may be any.
bool is_idle(const Json& json, const std::string& key) {
  const bool idle = key == "max_window_layers" || key == "pretraining_tp" || key == "ep_size" ||
                    key == "num_nextn_predict_layers" || key == "sliding_window";
  const bool grouped = !json.contains("topk_method") || json["topk_method"] != "greedy";
  return idle || (!grouped && (key == "n_group" || key == "topk_group"));
}

TEST(HfConfig, RefusesEveryKindOfBadValueForEveryKey) {
  const std::vector<Json> bad{nullptr,
                              true,
                              -1,
                              0,
                              2.0,
                              2.5,
                              1e300,
                              std::numeric_limits<double>::quiet_NaN(),
                              std::numeric_limits<uint64_t>::max(),
                              std::numeric_limits<int64_t>::max(),
                              std::numeric_limits<int64_t>::min(),
                              int64_t{1} << 31,
                              "",
                              "text",
                              "\xff\xfe",
                              std::string(10000, 'x'),
                              Json::array(),
                              Json::array({Json::array({1})}),
                              Json::object(),
                              Json{{"rope_type", 3}}};
  int refused = 0;
  std::vector<Json> models = small_models();
  models.insert(models.end(), {mixtral_8x7b(), qwen3_30b_a3b(), deepseek_v2_lite(), deepseek_v3()});
  for (const Json& json : models) {
    for (const auto& [key, good] : json.items()) {
      for (const Json& value : bad) {
        const std::string refusal = refusal_of(with(json, key, value));
        EXPECT_LT(refusal.size(), 1000) << key;
        refused += refusal.empty() ? 0 : 1;
        if (refusal.empty()) {  // then it must be possible to say it again
          const HfConfig config = config_of(with(json, key, value));
          expect_equal(config_of(write_hf_config(config)), config);
        }
      }
      const bool is_size = good.is_number() && !key.ends_with("token_id") && !is_idle(json, key);
      for (const Json& value : {Json("8"), Json(true), Json(-1)}) {
        EXPECT_TRUE(!is_size || !refusal_of(with(json, key, value)).empty()) << key << value;
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(HfConfig, NamesTheFamilysKeysAndAllThatIsWrong) {
  Json json = small_mixtral();
  json["intermediate_size"] = 0;
  EXPECT_EQ(refusal_of(json), "config.json: intermediate_size (0) must be from 1 to 16777216");
  json = small_mixtral();
  json["num_experts_per_tok"] = 9;
  EXPECT_NE(refusal_of(json).find("must not exceed num_local_experts (5)"), std::string::npos)
      << refusal_of(json);
  json = small_mixtral();
  json["num_local_experts"] = 0;
  EXPECT_NE(refusal_of(json).find("num_local_experts (0) must be at least 1"), std::string::npos)
      << refusal_of(json);
  json = small_qwen3_moe();
  json["hidden_sizes"] = 3;
  json["hidden_act"] = "relu";
  EXPECT_EQ(refusal_of(json),
            "config.json: hidden_act (\"relu\") must be \"silu\", since no other activation is "
            "known; 'hidden_sizes' (3) is an unknown key, was hidden_size meant?");
  json = without(small_qwen3_moe(), "head_dim");
  json["hidden_size"] = 50;
  EXPECT_NE(refusal_of(json).find("num_attention_heads (3) does not divide hidden_size (50)"),
            std::string::npos)
      << refusal_of(json);
}

TEST(HfConfig, RefusesOtherModels) {
  EXPECT_NE(refusal_of(Json::array()).find("object"), std::string::npos);
  EXPECT_NE(refusal_of(Json::object()).find("model_type"), std::string::npos);
  EXPECT_EQ(refusal_of({{"model_type", "llama"}}),
            "config.json: model_type (\"llama\") is none that can be read; these can: " +
                list_families());
  EXPECT_NE(refusal_of({{"model_type", 3}}), "");
  EXPECT_NE(refusal_of(with(small_mixtral(), "model_type", "qwen3_moe")).find("architectures"),
            std::string::npos);
}

TEST(HfConfig, WritesTokensForGeneration) {
  EXPECT_EQ(write_generation_config({}), Json::object());
  EXPECT_EQ(write_generation_config({.bos = 1, .pad = 0, .eos = {2}}),
            (Json{{"bos_token_id", 1}, {"eos_token_id", 2}, {"pad_token_id", 0}}));
  EXPECT_EQ(write_generation_config({.bos = {}, .pad = {}, .eos = {2, 3}}),
            (Json{{"eos_token_id", {2, 3}}}));
}

TEST(HfConfig, ReadsWhereGenerationEnds) {
  const auto eos = [](const Json& json) { return read_hf_generation(json, "generation", 5).eos; };
  EXPECT_EQ(eos({{"eos_token_id", {4, 2}}, {"temperature", 0.6}}), (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(eos({{"eos_token_id", 3}}), std::vector<int64_t>{3});
  EXPECT_TRUE(eos(Json::object()).empty());
  EXPECT_TRUE(eos({{"eos_token_id", nullptr}}).empty());
  for (const Json& bad : {Json(5), Json(-1), Json(1.5), Json("2"), Json::array({1, 9})}) {
    EXPECT_THROW(eos({{"eos_token_id", bad}}), FileError) << bad;
  }
  EXPECT_THROW(eos(Json::array()), FileError);
}

TEST(HfConfig, ReadsHowToSampleAndRefusesNonsense) {
  const Json good{{"bos_token_id", 1},
                  {"do_sample", true},
                  {"temperature", 0.6},
                  {"top_k", 20},
                  {"top_p", 1},
                  {"min_p", nullptr},
                  {"repetition_penalty", 1},
                  {"some_other", "x"},
                  {"transformers_version", "5.23.0"}};
  EXPECT_EQ(read_hf_generation(good, "generation", 5).sampling,
            (std::vector<std::string>{
                "do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "some_other"}));
  const std::vector<std::pair<Json, std::string>> cases{
      {{{"temperature", -1}}, "generation: temperature (-1) must be a number not below 0"},
      {{{"temperature", "hot"}}, "temperature (\"hot\") must be"},
      {{{"top_k", 2.5}}, "top_k (2.5) must be a whole number"},
      {{{"top_k", -3}}, "top_k (-3)"},
      {{{"top_p", 1.5}}, "top_p (1.5) must be a number from 0 to 1"},
      {{{"min_p", true}}, "min_p (true)"},
      {{{"repetition_penalty", -0.5}}, "repetition_penalty (-0.5)"},
      {{{"do_sample", 1}}, "do_sample (1) must be true or false"}};
  for (const auto& [json, sentence] : cases) {
    const std::string refusal = file_error_of([&] { read_hf_generation(json, "generation", 5); });
    EXPECT_NE(refusal.find(sentence), std::string::npos) << refusal;
  }
}

}  // namespace
}  // namespace enodia
