#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/dtype.h"
#include "common/rules.h"

namespace enodia {

/// Names of the built-in parts. Those of one's own are in models/model_parts.h.
inline constexpr const char* kGroupedQuery = "grouped_query";
inline constexpr const char* kLatentAttention = "mla";
inline constexpr const char* kLinearRouter = "linear";
inline constexpr const char* kCrossEntropy = "cross_entropy";

/// The shape of a decoder, with Hugging Face's names (Qwen3-MoE / DeepSeekMoE kind). Free of torch.
struct ModelOptions {
  int64_t vocab_size = 0;
  int64_t hidden_size = 256;  ///< D
  int64_t num_hidden_layers = 4;
  int64_t num_attention_heads = 4;
  int64_t num_key_value_heads = 4;              ///< divides num_attention_heads
  int64_t head_dim = 64;                        ///< even; need not be hidden_size / heads
  int64_t intermediate_size = 1024;             ///< of the dense layers
  int64_t moe_intermediate_size = 256;          ///< F, of one expert
  int64_t num_experts = 8;                      ///< E; 0 = a dense model
  int64_t num_experts_per_tok = 2;              ///< K
  int64_t num_shared_experts = 0;               ///< one shared FFN of width num_shared_experts * F
  int64_t shared_expert_intermediate_size = 0;  ///< its width instead, for one shared expert
  bool shared_expert_gate = false;  ///< a token's shared output is weighed by a sigmoid of its own
  int64_t first_k_dense_replace = 0;  ///< the first k layers are dense
  bool norm_topk_prob = true;         ///< renormalize the K weights to sum to one
  std::string scoring_func = "softmax";
  double routed_scaling_factor = 1.0;
  int64_t n_group = 1;                   ///< experts are in so many groups of equal size
  int64_t topk_group = 1;                ///< a token's experts come from so many groups
  std::string group_score = "top2_sum";  ///< of a group: "top2_sum" or "max" of its experts' scores
  bool use_expert_bias = false;          ///< a bias on scores, for the selection only
  double rope_theta = 10000.0;
  double partial_rotary_factor = 1.0;  ///< of a head, its first part, is rotated
  bool rope_interleave = false;       ///< neighbours are a pair, else the halves of what is rotated
  std::string rope_scaling = "none";  ///< or "yarn", which the next eight are of
  double rope_factor = 1.0;           ///< so many times longer sequences than before
  int64_t rope_original_max_position_embeddings = 2048;  ///< the longest ones before
  double rope_beta_fast = 32.0;        ///< pairs with more turns in these stay as they are
  double rope_beta_slow = 1.0;         ///< pairs with fewer are slowed down by the factor
  double rope_mscale = 0.0;            ///< 0 = not given
  double rope_mscale_all_dim = 0.0;    ///< 0 = not given; with mla it sharpens the scores too
  double rope_attention_factor = 0.0;  ///< multiplies cos and sin; 0 = follows from the others
  bool rope_truncate = true;           ///< whole pairs as bounds of the ramp
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;
  bool attention_bias = false;         ///< biases on q, k and v
  bool attention_output_bias = false;  ///< a bias on o
  bool use_qk_norm = true;             ///< RMSNorm on q and k, before RoPE
  std::string qk_norm = "head";        ///< of each "head", or "full" over all heads together
  int64_t q_lora_rank = 0;             ///< of mla: width of the queries' latent; 0 = none
  int64_t kv_lora_rank = 64;           ///< of mla: width of the latent of keys and values
  int64_t qk_nope_head_dim = 64;       ///< of mla: width of a head of q and k that is not rotated
  int64_t qk_rope_head_dim = 32;       ///< of mla: and that is; all heads of k share it
  int64_t v_head_dim = 64;             ///< of mla
  int64_t max_position_embeddings = 2048;
  DType dtype = DType::kFloat32;           ///< of computation, see parallel/precision.h
  std::string attention = kGroupedQuery;   ///< by name in ModelParts::attentions
  std::string router = kLinearRouter;      ///< by name in ModelParts::routers
  std::map<std::string, double> settings;  ///< of parts of one's own: the section `parts`

  bool is_moe_layer(int64_t layer) const {
    return num_experts > 0 && layer >= first_k_dense_replace;
  }

  bool is_latent() const { return attention == kLatentAttention; }

  /// Width of the shared FFN; 0 = there is none.
  int64_t shared_width() const {
    return shared_expert_intermediate_size > 0 ? shared_expert_intermediate_size
                                               : num_shared_experts * moe_intermediate_size;
  }
  /// Width of a head's queries and keys, and of its values.
  int64_t key_dim() const { return is_latent() ? qk_nope_head_dim + qk_rope_head_dim : head_dim; }
  int64_t value_dim() const { return is_latent() ? v_head_dim : head_dim; }
  /// What of key_dim is rotated.
  int64_t rotary_dim() const {
    return is_latent()
               ? qk_rope_head_dim
               : static_cast<int64_t>(static_cast<double>(head_dim) * partial_rotary_factor);
  }

  /// Whether nothing in it is of one's own: then parameter_list.h knows its parameters.
  bool is_built_in() const {
    return (attention == kGroupedQuery || is_latent()) && router == kLinearRouter;
  }

  /// Ranges, and rules between the sizes.
  void check(Rules& rules) const;

  friend bool operator==(const ModelOptions&, const ModelOptions&) = default;
};

/// A number that a part of one's own takes from the section `parts` of a configuration.
struct PartSetting {
  double value = 0;     ///< the default
  std::string meaning;  ///< to follow the key in `enodia help`
};

/// Which names model.attention, model.router and train.loss may have in this program, and the keys
/// of the section `parts`.
struct PartNames {
  std::vector<std::string> attentions{kGroupedQuery, kLatentAttention};
  std::vector<std::string> routers{kLinearRouter};
  std::vector<std::string> losses{kCrossEntropy};
  std::map<std::string, PartSetting> settings;
};

/// Whether a name is made of letters, digits and underscores, as those of parts and settings are.
bool is_part_name(std::string_view name);

/// Whose tokens the load-balance loss evens out.
enum class AuxLossScope : uint8_t {
  kMicroBatch,   ///< those of each micro-batch
  kSequence,     ///< those of each sequence
  kGlobalBatch,  ///< those of all ranks in the micro-batches of the step so far
};

/// Which copies an expert takes when more come than it has room for.
enum class DropPolicy : uint8_t {
  kPosition,  ///< the first tokens
  kProbs,     ///< those with the largest scores
  kRandom,    ///< any
};

/// What is not kept from forward to backward but computed again (Chen et al., arXiv 1604.06174).
enum class Recompute : uint8_t {
  kNone,
  kExperts,  ///< the hidden products of experts and shared experts
  kLayers,   ///< all of a layer but its input and its decisions
};

/// How tokens are spread over experts in training. Zero turns a loss, jitter or capacity off.
struct RouterOptions {
  double aux_loss_coef = 0.001;
  AuxLossScope aux_loss_scope = AuxLossScope::kMicroBatch;
  double device_loss_coef = 0.0;
  int64_t device_groups = 1;  ///< of experts, as many in each
  double z_loss_coef = 0.0;
  double expert_bias_update_rate = 0.001;  ///< with ModelOptions::use_expert_bias
  double jitter_eps = 0.0;
  /// Exponent of the distribution that experts are drawn from in training, whatever the router
  /// scores (forced_preferences); 0 = the router decides.
  double forced_skew = 0.0;
  /// Recorded routing that is repeated in training; empty = the router decides.
  std::string forced_counts;
  double capacity_factor = 0.0;  ///< of an even share; 0 = dropless
  DropPolicy drop_policy = DropPolicy::kPosition;

  void check(Rules& rules) const;
};

}  // namespace enodia
