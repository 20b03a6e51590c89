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
  check_positive(rules, "rope_theta", o.rope_theta);
  check_positive(rules, "rms_norm_eps", o.rms_norm_eps);
  check_positive(rules, "initializer_range", o.initializer_range);
  rules.bound(o.scoring_func == "softmax" || o.scoring_func == "sigmoid",
              "scoring_func (",
              o.scoring_func,
              ") must be softmax or sigmoid");
  rules.bound(o.dtype == DType::kFloat32 || o.dtype == DType::kFloat64,
              "dtype (",
              name_of(o.dtype),
              ") must be float32 or float64");
}

void check_across(const ModelOptions& o, Rules& rules) {
  rules.relate(o.head_dim % 2 == 0,
               "head_dim (",
               o.head_dim,
               ") must be even, since rotary embeddings turn pairs of dims; set it to ",
               o.head_dim - 1,
               " or ",
               o.head_dim + 1);
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
  rules.relate(o.num_experts == 0 || o.topk_group > o.n_group ||
                   o.num_experts_per_tok <= o.topk_group * (o.num_experts / o.n_group),
               "num_experts_per_tok (",
               o.num_experts_per_tok,
               ") must not exceed the experts of topk_group (",
               o.topk_group,
               ") of n_group (",
               o.n_group,
               ") groups of num_experts (",
               o.num_experts,
               "); set topk_group to at most ",
               o.n_group,
               ", or num_experts_per_tok to at most ",
               o.topk_group * (o.num_experts / o.n_group));
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
  check_not_negative(rules, "capacity_factor", capacity_factor);
}

}  // namespace enodia
