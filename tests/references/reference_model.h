#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

/// One training step of docs/numerics.md in float64, written to be read and not to be fast: token
/// by token, document by document, expert by expert, differentiated by torch's autograd. It knows
/// no ranks and shares no code with the product: what it and a layout agree on, neither has copied.
namespace enodia {

/// Tensors by the parameter names of docs/numerics.md.
using NamedTensors = std::map<std::string, at::Tensor>;

/// The model, the losses and the update, as docs/numerics.md names them.
struct ReferenceOptions {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate_size = 0;
  int64_t moe_intermediate_size = 0;
  int64_t num_experts = 0;  ///< 0 = all layers are dense
  int64_t num_experts_per_tok = 0;
  int64_t num_shared_experts = 0;
  int64_t first_k_dense_replace = 0;
  bool norm_topk_prob = true;
  bool sigmoid_scores = false;  ///< scoring_func: sigmoid, else softmax
  double routed_scaling_factor = 1.0;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  bool group_score_is_max = false;  ///< else the sum of the two largest
  bool use_expert_bias = false;
  double rope_theta = 10000.0;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool attention_output_bias = false;
  bool use_qk_norm = true;
  bool full_qk_norm = false;                    ///< of all heads together, else of each
  int64_t shared_expert_intermediate_size = 0;  ///< 0 = num_shared_experts moe_intermediate_size
  bool shared_expert_gate = false;

  double partial_rotary_factor = 1.0;
  bool rope_interleave = false;
  bool yarn = false;  ///< what follows is of it
  double yarn_factor = 1.0;
  double yarn_original_length = 16.0;
  double yarn_beta_fast = 32.0;
  double yarn_beta_slow = 1.0;
  double yarn_mscale = 0.0;            ///< 0 = not given
  double yarn_mscale_all_dim = 0.0;    ///< 0 = not given
  double yarn_attention_factor = 0.0;  ///< 0 = follows from the others
  bool yarn_truncate = true;

  bool latent_attention = false;  ///< attention: mla; what follows is of it
  int64_t q_lora_rank = 0;        ///< 0 = none
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;

  double aux_loss_coef = 0.0;
  std::string aux_loss_scope = "micro_batch";  ///< or sequence, global_batch
  double device_loss_coef = 0.0;
  int64_t device_groups = 1;
  double z_loss_coef = 0.0;
  double expert_bias_update_rate = 0.0;
  double jitter_eps = 0.0;
  double capacity_factor = 0.0;          ///< 0 = dropless
  std::string drop_policy = "position";  ///< or probs, random
  uint64_t seed = 0;
  /// Micro-batches that are computed at once: of all ranks. What global_batch calls "so far".
  int64_t micro_batches_at_once = 1;

  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip_norm = 0.0;  ///< 0 = no clipping

  bool is_moe_layer(int64_t layer) const {
    return num_experts > 0 && layer >= first_k_dense_replace;
  }
};

/// The tokens of one rank's micro-batch. A rank without tokens is a micro-batch without tokens.
struct ReferenceMicroBatch {
  std::vector<int64_t> tokens;
  std::vector<int64_t> labels;                 ///< one a token, -1 = none
  std::vector<int64_t> segment_lengths;        ///< sum to the number of tokens
  std::vector<int64_t> sequence_lengths = {};  ///< likewise; empty = one sequence
  int64_t first_token = 0;                     ///< number of the first token in the run
};

/// The experts that the tokens of one micro-batch chose in one layer, [T, K] int64, and whether the
/// copies found room, [T, K] bool (undefined = all).
struct ReferenceRoute {
  at::Tensor expert_ids, admitted = {};
};

/// Indexed [micro_batch][MoE layer], dense layers not counted.
using ReferenceRoutes = std::vector<std::vector<ReferenceRoute>>;

struct ReferenceStep {
  double loss = 0.0;         ///< mean cross-entropy in nats over the step's valid tokens
  double aux_loss = 0.0;     ///< L_aux averaged over MoE layers and valid tokens
  double device_loss = 0.0;  ///< of groups of experts, averaged likewise
  double z_loss = 0.0;       ///< L_z averaged likewise
  int64_t dropped = 0;       ///< copies of valid tokens without room
  double objective = 0.0;    ///< what is differentiated: coefficients included, summed over layers
  double grad_norm = 0.0;    ///< of all gradients, before clipping
  NamedTensors gradients;    ///< of the objective, before clipping
  NamedTensors updated;  ///< the parameters after the step; unchanged when grad_norm is not finite
  NamedTensors exp_avg, exp_avg_sq;  ///< AdamW's moments after the step

  ReferenceRoutes routes;  ///< what was computed with: the replayed routes, if there were any
  /// The smallest difference of score between the last chosen and the first expert not
  /// chosen, over all tokens and layers; infinite when every token takes every expert.
  double smallest_margin = 0.0;
  /// Decisions (a token in a layer, an expert that has no room for all) in which what is replayed
  /// is not what the scores here say, and the widest margin among them. A router that decides
  /// wrongly shows as a wide one; rounding flips only narrow ones.
  int64_t disagreements = 0;
  double widest_disagreement = 0.0;
  /// Valid tokens of each expert over the step's micro-batches, [MoE layers x E] flattened.
  std::vector<int64_t> load;
  /// Entropy of the router's probabilities in nats, mean over the step's valid tokens, [MoE
  /// layers].
  std::vector<double> router_entropy;
};

/// The shape of every parameter of the model, by name.
std::map<std::string, std::vector<int64_t>> reference_parameter_shapes(
    const ReferenceOptions& options);

/// Runs one step. `parameters` are float64 and exactly those of reference_parameter_shapes;
/// `optimizer_step` counts from 1; null moments are zeros. With `replay` the experts of each token,
/// and which copies find room, are given, and everything else is computed as ever.
/// Throws std::invalid_argument when shapes or lengths do not fit. Local.
ReferenceStep reference_step(const ReferenceOptions& options,
                             const NamedTensors& parameters,
                             const std::vector<ReferenceMicroBatch>& micro_batches,
                             int64_t optimizer_step = 1,
                             const NamedTensors* exp_avg = nullptr,
                             const NamedTensors* exp_avg_sq = nullptr,
                             const ReferenceRoutes* replay = nullptr);

/// The objective of reference_step alone, for finite differences.
double reference_objective(const ReferenceOptions& options,
                           const NamedTensors& parameters,
                           const std::vector<ReferenceMicroBatch>& micro_batches);

/// The logits [T, V] of one micro-batch, without gradients.
at::Tensor reference_logits(const ReferenceOptions& options,
                            const NamedTensors& parameters,
                            const ReferenceMicroBatch& micro_batch);

}  // namespace enodia
