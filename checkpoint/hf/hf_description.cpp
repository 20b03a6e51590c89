#include "checkpoint/hf/hf_description.h"

#include <algorithm>
#include <array>

namespace enodia {

std::span<const HfKey> decoder_keys() {
  static constexpr std::array<HfKey, 11> kKeys{{
      {"vocab_size", &ModelOptions::vocab_size},
      {"hidden_size", &ModelOptions::hidden_size},
      {"num_hidden_layers", &ModelOptions::num_hidden_layers},
      {"num_attention_heads", &ModelOptions::num_attention_heads},
      {.key = "num_key_value_heads",
       .member = &ModelOptions::num_key_value_heads,
       .nullable = true},
      {.key = "head_dim", .member = &ModelOptions::head_dim, .nullable = true},
      {"num_experts_per_tok", &ModelOptions::num_experts_per_tok},
      {"max_position_embeddings", &ModelOptions::max_position_embeddings},
      {"initializer_range", &ModelOptions::initializer_range},
      {"rms_norm_eps", &ModelOptions::rms_norm_eps},
      {"tie_word_embeddings", &ModelOptions::tie_word_embeddings},
  }};
  return kKeys;
}

std::span<const HfRequired> common_required() {
  static constexpr std::string_view kNoCode = "the model runs code of its own";
  static constexpr std::string_view kDecoder = "it is a decoder without cross-attention";
  static constexpr std::array<HfRequired, 13> kRequired{{
      {"quantization_config", "[null]", "quantized weights cannot be read"},
      {"compression_config", "[null]", "quantized weights cannot be read"},
      {"auto_map", "[null]", kNoCode},
      {"custom_pipelines", "[null]", kNoCode},
      {"is_encoder_decoder", "[false]", kDecoder},
      {"add_cross_attention", "[false]", kDecoder},
      {"cross_attention_hidden_size", "[null]", kDecoder},
      {"tie_encoder_decoder", "[false]", kDecoder},
      {"pruned_heads", "[{}, null]", "all layers have the same heads"},
      {"per_layer_config", "[null, {}]", "all layers have the same shape"},
      {"partial_rotary_factor", "[1, null]", "all of a head is rotated"},
      {"attention_bias", "[false]", "its attention has no biases"},
      {"mlp_bias", "[false]", "its experts have no biases"},
  }};
  return kRequired;
}

std::span<const HfTrait> common_traits() {
  static constexpr std::string_view kNoBias = "its attention has no biases";
  static constexpr std::string_view kNoGroups = "its router knows no groups of experts";
  static constexpr std::array<HfTrait, 16> kTraits{{
      {"attention", &ModelOptions::attention, "its attention is another one"},
      {"router", &ModelOptions::router, "only what is built in can be expressed"},
      {"use_qk_norm", &ModelOptions::use_qk_norm, "its attention has no norms of q and k"},
      {"qk_norm", &ModelOptions::qk_norm, "its norms of q and k are of each head"},
      {"attention_bias", &ModelOptions::attention_bias, kNoBias},
      {"attention_output_bias", &ModelOptions::attention_output_bias, kNoBias},
      {"scoring_func", &ModelOptions::scoring_func, "its router knows softmax only"},
      {"routed_scaling_factor", &ModelOptions::routed_scaling_factor, "it does not scale experts"},
      {"n_group", &ModelOptions::n_group, kNoGroups},
      {"topk_group", &ModelOptions::topk_group, kNoGroups},
      {"use_expert_bias", &ModelOptions::use_expert_bias, "its router has no bias of experts"},
      {"num_shared_experts", &ModelOptions::num_shared_experts, "it has no shared experts"},
      {"shared_expert_intermediate_size",
       &ModelOptions::shared_expert_intermediate_size,
       "its shared experts are as wide as others"},
      {"shared_expert_gate", &ModelOptions::shared_expert_gate, "its shared experts have no gate"},
      {"partial_rotary_factor", &ModelOptions::partial_rotary_factor, "it rotates all of a head"},
      {"rope_interleave",
       &ModelOptions::rope_interleave,
       "it rotates pairs of one dim of each half"},
  }};
  return kTraits;
}

bool applies(const HfTrait& common, const HfFamily& family) {
  const auto is_of = [&](const auto& each) { return each.member == common.member; };
  const bool in_keys = std::any_of(family.keys.begin(), family.keys.end(), is_of);
  const bool in_traits = std::any_of(family.traits.begin(), family.traits.end(), is_of);
  const bool in_hooks =
      std::find(family.told.begin(), family.told.end(), common.model_key) != family.told.end();
  const bool in_rope = family.is_partly_rotated && common.model_key == "partial_rotary_factor";
  return !in_keys && !in_traits && !in_hooks && !in_rope;
}

std::span<const std::string_view> common_idle() {
  // The fields of PreTrainedConfig in transformers 4 and 5, and the parameters of generation that
  // older versions kept in config.json.
  static constexpr std::string_view kIdle[] = {
      "_attn_implementation_autoset",
      "_commit_hash",
      "_experts_implementation",
      "_name_or_path",
      "attn_implementation",
      "bad_words_ids",
      "begin_suppress_tokens",
      "chunk_size_feed_forward",
      "decoder_start_token_id",
      "diversity_penalty",
      "do_sample",
      "early_stopping",
      "encoder_no_repeat_ngram_size",
      "experts_implementation",
      "exponential_decay_length_penalty",
      "finetuning_task",
      "forced_bos_token_id",
      "forced_eos_token_id",
      "id2label",
      "is_decoder",
      "label2id",
      "length_penalty",
      "max_length",
      "min_length",
      "name_or_path",
      "no_repeat_ngram_size",
      "num_beam_groups",
      "num_beams",
      "num_labels",
      "num_return_sequences",
      "output_attentions",
      "output_hidden_states",
      "output_router_logits",
      "output_scores",
      "prefix",
      "pretraining_tp",
      "problem_type",
      "remove_invalid_values",
      "repetition_penalty",
      "return_dict",
      "return_dict_in_generate",
      "sep_token_id",
      "suppress_tokens",
      "task_specific_params",
      "temperature",
      "tf_legacy_loss",
      "tie_last_hidden_states",
      "tokenizer_class",
      "top_k",
      "top_p",
      "torchscript",
      "transformers_version",
      "typical_p",
      "use_bfloat16",
      "use_cache",
  };
  return kIdle;
}

Json value_of(const ModelOptions& model, const ModelMember& member) {
  return std::visit([&](auto pointer) { return Json(model.*pointer); }, member);
}

std::string text_of(const ModelOptions& model, const ModelMember& member) {
  const Json value = value_of(model, member);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace enodia
