#include "models/model_options.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"
#include "common/sentence.h"

namespace enodia {
namespace {

// Bounds far above any model, so that products of two sizes stay within int64.
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxCount = int64_t{1} << 16;
constexpr int64_t kMaxTokens = (int64_t{1} << 31) - 1;  // token ids are int32

void check_range(Rules& rules, const char* key, int64_t value, int64_t min, int64_t max) {
  rules.bound(value >= min && value <= max, key, " (", value, ") must be from ", min, " to ", max);
}
void check_positive(Rules& rules, const char* key, double value) {
  rules.bound(std::isfinite(value) && value > 0, key, " (", value, ") must be above 0 and finite");
}
void check_not_negative(Rules& rules, const char* key, double value) {
  rules.bound(
      std::isfinite(value) && value >= 0, key, " (", value, ") must be finite and not below 0");
}

void check_one_of(
    Rules& rules, const char* key, const std::string& value, const char* one, const char* other) {
  rules.bound(value == one || value == other, key, " (", value, ") must be ", one, " or ", other);
}

void check_rotary_ranges(const ModelOptions& o, Rules& rules) {
  check_positive(rules, "rope_theta", o.rope_theta);
  check_positive(rules, "partial_rotary_factor", o.partial_rotary_factor);
  check_one_of(rules, "rope_scaling", o.rope_scaling, "none", "yarn");
  check_positive(rules, "rope_factor", o.rope_factor);
  check_range(rules,
              "rope_original_max_position_embeddings",
              o.rope_original_max_position_embeddings,
              1,
              kMaxTokens);
  check_positive(rules, "rope_beta_fast", o.rope_beta_fast);
  check_positive(rules, "rope_beta_slow", o.rope_beta_slow);
  check_not_negative(rules, "rope_mscale", o.rope_mscale);
  check_not_negative(rules, "rope_mscale_all_dim", o.rope_mscale_all_dim);
  check_not_negative(rules, "rope_attention_factor", o.rope_attention_factor);
}

void check_latent_ranges(const ModelOptions& o, Rules& rules) {
  check_range(rules, "q_lora_rank", o.q_lora_rank, 0, kMaxWidth);
  check_range(rules, "kv_lora_rank", o.kv_lora_rank, 1, kMaxWidth);
  check_range(rules, "qk_nope_head_dim", o.qk_nope_head_dim, 1, kMaxCount);
  check_range(rules, "qk_rope_head_dim", o.qk_rope_head_dim, 2, kMaxCount);
  check_range(rules, "v_head_dim", o.v_head_dim, 1, kMaxCount);
}

void check_ranges(const ModelOptions& o, Rules& rules) {
  check_range(rules, "vocab_size", o.vocab_size, 0, kMaxTokens);
  check_range(rules, "hidden_size", o.hidden_size, 1, kMaxWidth);
  check_range(rules, "num_hidden_layers", o.num_hidden_layers, 1, kMaxCount);
  check_range(rules, "num_attention_heads", o.num_attention_heads, 1, kMaxCount);
  check_range(rules, "num_key_value_heads", o.num_key_value_heads, 1, kMaxCount);
  check_range(rules, "head_dim", o.head_dim, 2, kMaxCount);
  check_range(rules, "intermediate_size", o.intermediate_size, 1, kMaxWidth);
  check_range(rules, "moe_intermediate_size", o.moe_intermediate_size, 1, kMaxWidth);
  check_range(rules, "num_experts", o.num_experts, 0, kMaxCount);
  check_range(rules, "num_experts_per_tok", o.num_experts_per_tok, 1, kMaxCount);
  check_range(rules, "num_shared_experts", o.num_shared_experts, 0, kMaxCount);
  check_range(rules, "n_group", o.n_group, 1, kMaxCount);
  check_range(rules, "topk_group", o.topk_group, 1, kMaxCount);
  rules.bound(o.group_score == "top2_sum" || o.group_score == "max",
              "group_score (",
              o.group_score,
              ") must be top2_sum or max");
  check_range(rules, "first_k_dense_replace", o.first_k_dense_replace, 0, kMaxCount);
  check_range(rules, "max_position_embeddings", o.max_position_embeddings, 1, kMaxTokens);
  check_positive(rules, "routed_scaling_factor", o.routed_scaling_factor);
  check_range(
      rules, "shared_expert_intermediate_size", o.shared_expert_intermediate_size, 0, kMaxWidth);
  check_rotary_ranges(o, rules);
  check_latent_ranges(o, rules);
  check_one_of(rules, "qk_norm", o.qk_norm, "head", "full");
  check_positive(rules, "rms_norm_eps", o.rms_norm_eps);
  check_positive(rules, "initializer_range", o.initializer_range);
  check_one_of(rules, "scoring_func", o.scoring_func, "softmax", "sigmoid");
  rules.bound(
      o.dtype == DType::kFloat32 || o.dtype == DType::kFloat64 || o.dtype == DType::kBFloat16,
      "dtype (",
      name_of(o.dtype),
      ") must be float32, bfloat16 or float64");
}

void check_even(Rules& rules, bool holds, const char* key, int64_t dim) {
  rules.relate(holds,
               key,
               " (",
               dim,
               ") must be even, since rotary embeddings turn pairs of dims; set it to ",
               dim - 1,
               " or ",
               dim + 1);
}

void check_rotary(const ModelOptions& o, Rules& rules) {
  check_even(rules, o.is_latent() || o.head_dim % 2 == 0, "head_dim", o.head_dim);
  check_even(
      rules, !o.is_latent() || o.qk_rope_head_dim % 2 == 0, "qk_rope_head_dim", o.qk_rope_head_dim);
  const bool is_part =
      o.partial_rotary_factor < 1 && o.rotary_dim() >= 2 && o.rotary_dim() % 2 == 0;
  rules.relate(o.is_latent() || o.partial_rotary_factor == 1 || is_part,
               "partial_rotary_factor (",
               o.partial_rotary_factor,
               ") times head_dim (",
               o.head_dim,
               ") must be even and from 2 to head_dim, for it is the part of a head that is "
               "rotated; set partial_rotary_factor to 1 or 0.5");
  rules.relate(o.rope_scaling == "none" || o.rope_theta > 1,
               "rope_theta (",
               o.rope_theta,
               ") must be above 1 with rope_scaling: yarn, so that later pairs turn more slowly; "
               "set it to 10000");
  rules.relate(o.rope_scaling == "none" || o.rope_factor >= 1,
               "rope_factor (",
               o.rope_factor,
               ") must be at least 1 with rope_scaling: yarn, which makes sequences longer; set "
               "it to 1 or more");
}

/// What only the other attention knows.
void check_latent(const ModelOptions& o, Rules& rules) {
  const bool grouped = !o.is_latent();
  rules.relate(!grouped || o.q_lora_rank == 0,
               "q_lora_rank (",
               o.q_lora_rank,
               ") must be 0 unless attention is mla, which alone has latents; set it to 0, or "
               "attention to mla");
  rules.relate(grouped || o.num_key_value_heads == o.num_attention_heads,
               "num_key_value_heads (",
               o.num_key_value_heads,
               ") must equal num_attention_heads (",
               o.num_attention_heads,
               ") with attention: mla, whose heads have keys of their own; set it to ",
               o.num_attention_heads);
  rules.relate(grouped || !o.use_qk_norm,
               "use_qk_norm (",
               o.use_qk_norm ? "true" : "false",
               ") must be false with attention: mla, which has norms of its latents; set it to "
               "false");
  rules.relate(grouped || o.partial_rotary_factor == 1,
               "partial_rotary_factor (",
               o.partial_rotary_factor,
               ") must be 1 with attention: mla, which rotates qk_rope_head_dim; set it to 1");
}

void check_shared(const ModelOptions& o, Rules& rules) {
  rules.relate(o.shared_expert_intermediate_size == 0 || o.num_shared_experts == 1,
               "num_shared_experts (",
               o.num_shared_experts,
               ") must be 1 when shared_expert_intermediate_size (",
               o.shared_expert_intermediate_size,
               ") is not 0, for that is the width of one; set it to 1, or "
               "shared_expert_intermediate_size to 0");
  rules.relate(!o.shared_expert_gate || o.num_shared_experts > 0,
               "shared_expert_gate (",
               o.shared_expert_gate ? "true" : "false",
               ") must be false when num_shared_experts (",
               o.num_shared_experts,
               ") is 0, since there is nothing to weigh; set it to false, or num_shared_experts "
               "to at least 1");
}

void check_across(const ModelOptions& o, Rules& rules) {
  check_rotary(o, rules);
  check_latent(o, rules);
  check_shared(o, rules);
  rules.relate(o.num_attention_heads % o.num_key_value_heads == 0,
               "num_key_value_heads (",
               o.num_key_value_heads,
               ") must divide num_attention_heads (",
               o.num_attention_heads,
               "); set it to ",
               list_divisors(o.num_attention_heads));
  rules.relate(o.num_experts == 0 || o.num_experts_per_tok <= o.num_experts,
               "num_experts_per_tok (",
               o.num_experts_per_tok,
               ") must not exceed num_experts (",
               o.num_experts,
               "); set it to at most ",
               o.num_experts,
               ", or num_experts to at least ",
               o.num_experts_per_tok);
  rules.relate(o.num_experts % o.n_group == 0,
               "n_group (",
               o.n_group,
               ") must divide num_experts (",
               o.num_experts,
               "); set it to ",
               list_divisors(std::max<int64_t>(o.num_experts, 1)));
  rules.relate(o.topk_group <= o.n_group,
               "topk_group (",
               o.topk_group,
               ") must not exceed n_group (",
               o.n_group,
               "); set it to at most ",
               o.n_group);
  const int64_t experts_a_group =
      std::max<int64_t>(o.num_experts / std::max<int64_t>(o.n_group, 1), 1);
  rules.relate(o.num_experts_per_tok > o.num_experts || o.topk_group > o.n_group ||
                   o.num_experts % std::max<int64_t>(o.n_group, 1) != 0 ||
                   o.num_experts_per_tok <= o.topk_group * experts_a_group,
               "num_experts_per_tok (",
               o.num_experts_per_tok,
               ") must not exceed the experts of topk_group (",
               o.topk_group,
               ") of n_group (",
               o.n_group,
               ") groups of num_experts (",
               o.num_experts,
               "); set topk_group to at least ",
               (o.num_experts_per_tok + experts_a_group - 1) / experts_a_group,
               ", or num_experts_per_tok to at most ",
               o.topk_group * experts_a_group);
  rules.relate(o.num_experts > 0 || o.num_shared_experts == 0,
               "num_shared_experts (",
               o.num_shared_experts,
               ") must be 0 when num_experts (",
               o.num_experts,
               ") is 0, a dense model; set it to 0, or num_experts to at least ",
               o.num_experts_per_tok);
  rules.relate(o.first_k_dense_replace <= o.num_hidden_layers,
               "first_k_dense_replace (",
               o.first_k_dense_replace,
               ") must not exceed num_hidden_layers (",
               o.num_hidden_layers,
               "); set it to at most ",
               o.num_hidden_layers);
  rules.relate(o.num_shared_experts * o.moe_intermediate_size <= kMaxWidth,
               "num_shared_experts (",
               o.num_shared_experts,
               ") times moe_intermediate_size (",
               o.moe_intermediate_size,
               ") must not exceed ",
               kMaxWidth,
               "; set num_shared_experts to at most ",
               kMaxWidth / o.moe_intermediate_size);
}

}  // namespace

void ModelOptions::check(Rules& rules) const {
  check_ranges(*this, rules);
  if (rules.sound()) {
    check_across(*this, rules);
  }
}

bool is_part_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

void RouterOptions::check(Rules& rules) const {
  check_not_negative(rules, "aux_loss_coef", aux_loss_coef);
  check_not_negative(rules, "device_loss_coef", device_loss_coef);
  check_range(rules, "device_groups", device_groups, 1, kMaxCount);
  check_not_negative(rules, "z_loss_coef", z_loss_coef);
  check_not_negative(rules, "expert_bias_update_rate", expert_bias_update_rate);
  rules.bound(jitter_eps >= 0 && jitter_eps < 1,
              "jitter_eps (",
              jitter_eps,
              ") must be at least 0 and below 1");
  check_not_negative(rules, "forced_skew", forced_skew);
  rules.relate(forced_counts.empty() || forced_skew == 0,
               "forced_counts (",
               forced_counts,
               ") and forced_skew (",
               forced_skew,
               ") must not both decide; set forced_skew to 0");
  check_not_negative(rules, "capacity_factor", capacity_factor);
  rules.relate(
      device_loss_coef == 0 || device_groups > 1,
      "device_groups (",
      device_groups,
      ") must be above 1 with a device_loss_coef (",
      device_loss_coef,
      "), for a single group is always in balance; set it to the ranks or nodes that share "
      "the experts, or device_loss_coef to 0");
}

}  // namespace enodia
