#include "models/model_options.h"

#include <cmath>

#include "common/check.h"
#include "common/sentence.h"

namespace enodia {
namespace {

// Bounds far above any model, so that products of two sizes stay within int64.
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxCount = int64_t{1} << 16;
constexpr int64_t kMaxTokens = (int64_t{1} << 31) - 1;  // token ids are int32

/// Collects the sentences of broken rules.
class Rules {
 public:
  template <typename... Words>
  void require(bool holds, const Words&... sentence) {
    if (!holds) {
      broken_.push_back(detail::concat(sentence...));
    }
  }
  void in_range(const char* key, int64_t value, int64_t min, int64_t max) {
    require(value >= min && value <= max, key, " (", value, ") must be from ", min, " to ", max);
  }
  void positive(const char* key, double value) {
    require(std::isfinite(value) && value > 0, key, " (", value, ") must be above 0 and finite");
  }
  void not_negative(const char* key, double value) {
    require(
        std::isfinite(value) && value >= 0, key, " (", value, ") must be finite and not below 0");
  }
  bool sound() const { return broken_.empty(); }
  std::vector<std::string> broken() && { return std::move(broken_); }

 private:
  std::vector<std::string> broken_;
};

void check_ranges(const ModelOptions& o, Rules& rules) {
  rules.in_range("vocab_size", o.vocab_size, 0, kMaxTokens);
  rules.in_range("hidden_size", o.hidden_size, 1, kMaxWidth);
  rules.in_range("num_hidden_layers", o.num_hidden_layers, 1, kMaxCount);
  rules.in_range("num_attention_heads", o.num_attention_heads, 1, kMaxCount);
  rules.in_range("num_key_value_heads", o.num_key_value_heads, 1, kMaxCount);
  rules.in_range("head_dim", o.head_dim, 2, kMaxCount);
  rules.in_range("intermediate_size", o.intermediate_size, 1, kMaxWidth);
  rules.in_range("moe_intermediate_size", o.moe_intermediate_size, 1, kMaxWidth);
  rules.in_range("num_experts", o.num_experts, 0, kMaxCount);
  rules.in_range("num_experts_per_tok", o.num_experts_per_tok, 1, kMaxCount);
  rules.in_range("num_shared_experts", o.num_shared_experts, 0, kMaxCount);
  rules.in_range("first_k_dense_replace", o.first_k_dense_replace, 0, kMaxCount);
  rules.in_range("max_position_embeddings", o.max_position_embeddings, 1, kMaxTokens);
  rules.positive("routed_scaling_factor", o.routed_scaling_factor);
  rules.positive("rope_theta", o.rope_theta);
  rules.positive("rms_norm_eps", o.rms_norm_eps);
  rules.positive("initializer_range", o.initializer_range);
  rules.require(o.scoring_func == "softmax" || o.scoring_func == "sigmoid",
                "scoring_func (",
                o.scoring_func,
                ") must be softmax or sigmoid");
  rules.require(o.dtype == DType::kFloat32 || o.dtype == DType::kFloat64,
                "dtype (",
                name_of(o.dtype),
                ") must be float32 or float64");
}

void check_across(const ModelOptions& o, Rules& rules) {
  rules.require(o.head_dim % 2 == 0,
                "head_dim (",
                o.head_dim,
                ") must be even, since rotary embeddings turn pairs of dims; set it to ",
                o.head_dim - 1,
                " or ",
                o.head_dim + 1);
  rules.require(o.num_attention_heads % o.num_key_value_heads == 0,
                "num_key_value_heads (",
                o.num_key_value_heads,
                ") must divide num_attention_heads (",
                o.num_attention_heads,
                "); set it to ",
                list_divisors(o.num_attention_heads));
  rules.require(o.num_experts == 0 || o.num_experts_per_tok <= o.num_experts,
                "num_experts_per_tok (",
                o.num_experts_per_tok,
                ") must not exceed num_experts (",
                o.num_experts,
                "); set it to at most ",
                o.num_experts);
  rules.require(o.num_experts > 0 || o.num_shared_experts == 0,
                "num_shared_experts (",
                o.num_shared_experts,
                ") needs MoE layers, but num_experts (",
                o.num_experts,
                ") makes a dense model; set it to 0");
  rules.require(o.first_k_dense_replace <= o.num_hidden_layers,
                "first_k_dense_replace (",
                o.first_k_dense_replace,
                ") must not exceed num_hidden_layers (",
                o.num_hidden_layers,
                "); set it to at most ",
                o.num_hidden_layers);
  rules.require(o.num_shared_experts * o.moe_intermediate_size <= kMaxWidth,
                "num_shared_experts (",
                o.num_shared_experts,
                ") times moe_intermediate_size (",
                o.moe_intermediate_size,
                ") must not exceed ",
                kMaxWidth);
}

}  // namespace

std::vector<std::string> ModelOptions::violations() const {
  Rules rules;
  check_ranges(*this, rules);
  if (rules.sound()) {
    check_across(*this, rules);
  }
  return std::move(rules).broken();
}

std::vector<std::string> RouterOptions::violations() const {
  Rules rules;
  rules.not_negative("aux_loss_coef", aux_loss_coef);
  rules.not_negative("z_loss_coef", z_loss_coef);
  return std::move(rules).broken();
}

}  // namespace enodia
