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
inline constexpr const char* kLinearRouter = "linear";
inline constexpr const char* kCrossEntropy = "cross_entropy";

/// The shape of a decoder, with Hugging Face's names (Qwen3-MoE / DeepSeekMoE kind). Free of torch.
struct ModelOptions {
  int64_t vocab_size = 0;
  int64_t hidden_size = 256;  ///< D
  int64_t num_hidden_layers = 4;
  int64_t num_attention_heads = 4;
  int64_t num_key_value_heads = 4;      ///< divides num_attention_heads
  int64_t head_dim = 64;                ///< even; need not be hidden_size / heads
  int64_t intermediate_size = 1024;     ///< of the dense layers
  int64_t moe_intermediate_size = 256;  ///< F, of one expert
  int64_t num_experts = 8;              ///< E; 0 = a dense model
  int64_t num_experts_per_tok = 2;      ///< K
  int64_t num_shared_experts = 0;       ///< one shared FFN of width num_shared_experts * F
  int64_t first_k_dense_replace = 0;    ///< the first k layers are dense
  bool norm_topk_prob = true;           ///< renormalize the K weights to sum to one
  std::string scoring_func = "softmax";
  double routed_scaling_factor = 1.0;
  int64_t n_group = 1;                    ///< experts are in so many groups of equal size
  int64_t topk_group = 1;                 ///< a token's experts come from so many groups
  std::string group_score = "top2_sum";   ///< of a group: "top2_sum" or "max" of its experts' scores
  bool use_expert_bias = false;           ///< a bias on scores, for the selection only
  double rope_theta = 10000.0;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;
  bool attention_bias = false;         ///< biases on q, k and v
  bool attention_output_bias = false;  ///< a bias on o
  bool use_qk_norm = true;             ///< RMSNorm per head on q and k, before RoPE
  int64_t max_position_embeddings = 2048;
  DType dtype = DType::kFloat32;          ///< compute and wide type: float32, or float64 for proofs
  std::string attention = kGroupedQuery;  ///< by name in ModelParts::attentions
  std::string router = kLinearRouter;     ///< by name in ModelParts::routers
  std::map<std::string, double> settings;  ///< of parts of one's own: the section `parts`

  bool is_moe_layer(int64_t layer) const {
    return num_experts > 0 && layer >= first_k_dense_replace;
  }

  /// Whether nothing in it is of one's own: then parameter_list.h knows its parameters.
  bool is_built_in() const { return attention == kGroupedQuery && router == kLinearRouter; }

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
  std::vector<std::string> attentions{kGroupedQuery};
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

/// How tokens are spread over experts in training. Zero turns a loss, jitter or capacity off.
struct RouterOptions {
  double aux_loss_coef = 0.001;
  AuxLossScope aux_loss_scope = AuxLossScope::kMicroBatch;
  double device_loss_coef = 0.0;
  int64_t device_groups = 1;  ///< of experts, as many in each
  double z_loss_coef = 0.0;
  double expert_bias_update_rate = 0.001;  ///< with ModelOptions::use_expert_bias
  double jitter_eps = 0.0;
  double capacity_factor = 0.0;  ///< of an even share; 0 = dropless
  DropPolicy drop_policy = DropPolicy::kPosition;

  void check(Rules& rules) const;
};

}  // namespace enodia
