#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace enodia {

/// model.scoring_func: the scores of a token's E experts sum to one, or each stands for itself in
/// (0, 1) (DeepSeek-V3, arXiv 2412.19437, section 2.1.2).
enum class ScoringFunc : uint8_t { kSoftmax, kSigmoid };

/// A router's decision for T tokens: E experts, K per token. Always in the wide type, where the
/// logits are, but for what plans and counts are made of, which is on the host.
struct Route {
  ScoringFunc scoring = ScoringFunc::kSoftmax;
  at::Tensor choices;           ///< [T, K] int64, the chosen experts
  at::Tensor chosen_ids;        ///< [T, K] int32 on the host, the same
  at::Tensor expert_ids;        ///< [T, K] int32 on the host, those admitted; -1 = dropped
  at::Tensor chosen_scores;     ///< [T, K] on the host; undefined unless RouteOptions wants it
  at::Tensor weights;           ///< [T, K]
  at::Tensor scores;            ///< [T, E] softmax or sigmoid of the logits
  at::Tensor probs;             ///< [T, E] scores that sum to one: those of softmax themselves
  at::Tensor logits;            ///< [T, E]
  std::vector<int64_t> counts;  ///< [E] admitted token copies of each expert on this rank
  /// The smallest difference between the last score that was chosen and the first that was not, of
  /// experts and of groups: with rounding of that size others would have been chosen. A number;
  /// undefined without a choice (no tokens, or K = E).
  at::Tensor margin;
};

/// model.group_score: of a group of experts, from their scores.
enum class GroupScore : uint8_t { kTop2Sum, kMax };

/// How logits become scores, and the chosen scores weights.
struct RouteOptions {
  bool renormalize = true;  ///< divide by the sum over the chosen
  double scale = 1.0;       ///< routed_scaling_factor
  ScoringFunc scoring = ScoringFunc::kSoftmax;
  int64_t num_groups = 1;         ///< of experts, contiguous and equal
  int64_t num_chosen_groups = 1;  ///< experts of all others are left out
  GroupScore group_score = GroupScore::kTop2Sum;
  bool reads_scores = false;  ///< whether the host needs the scores of the chosen
};

/// Score: `options.scoring`. Select: the K largest scores plus `bias` ([E] or [T, E], undefined =
/// none; arXiv 2408.15664), of the groups with the largest group scores (DeepSeek-V2, arXiv
/// 2405.04434, section 2.2.2; DeepSeek-V3, arXiv 2412.19437, section 2.1.2), ties to the smaller
/// id. Weight: the chosen scores without the bias. Admit: every copy (dropless); see admission.h.
/// Copies from the device to the host once. Local.
Route route_tokens(const at::Tensor& logits,
                   int64_t num_chosen,
                   const RouteOptions& options,
                   const at::Tensor& bias = {});

/// The same decisions (choices, chosen_ids, expert_ids and counts of `made`) with scores,
/// probabilities and weights made again from the logits. Local.
Route replay_route(const at::Tensor& logits, const Route& made, const RouteOptions& options);

/// The gradient of the logits from the gradient of the weights [T, K] and, when defined, of the
/// probabilities [T, E]. The choice itself has no gradient.
at::Tensor route_backward(const Route& route,
                          const at::Tensor& grad_weights,
                          const at::Tensor& grad_probs,
                          const RouteOptions& options);

/// A loss of the router over the valid tokens of one micro-batch.
struct RouterLoss {
  at::Tensor sum;       ///< the loss times the valid tokens, a float64 number
  at::Tensor gradient;  ///< [T, E] of grad_scale * loss * valid tokens; see the functions
};

/// A load-balance loss L = E sum_i f_i P_i (Switch Transformer, eq. 4-6; 1 at uniform) of each of
/// several sets of tokens; gradient [T, E] is that of the probabilities. `valid` is [T] bool,
/// set_of [T] int64 the set of each token, `fractions` [sets, E] its f. P is the mean over the set,
/// so that L times the set's tokens is a sum over tokens, of which this is this rank's part.
RouterLoss balance_loss(const Route& route,
                        const at::Tensor& valid,
                        const at::Tensor& set_of,
                        const at::Tensor& fractions,
                        double grad_scale);

/// f of balance_loss: counts / (K valid), by set; 0 for a set without valid tokens. `counts` is
/// [sets, E] copies of valid tokens, `valid` [sets] those tokens, both int64.
at::Tensor load_fractions(const at::Tensor& counts,
                          const at::Tensor& valid,
                          int64_t num_chosen,
                          at::ScalarType dtype);

/// f of the loss between groups of experts: each expert has its group's mean (DeepSeekMoE, arXiv
/// 2401.06066, eq. 15-17; there E times as large, and so is L).
at::Tensor group_fractions(const at::Tensor& fractions, int64_t groups);

/// L_z = mean over valid tokens of logsumexp(logits)^2 (ST-MoE, eq. 5); gradient [T, E] is that of
/// the logits.
RouterLoss z_loss(const Route& route, const at::Tensor& valid, double grad_scale);

/// The entropy -sum_i q_i ln q_i of each valid token's probabilities, made to sum to one
/// (q = p / sum p), in nats, summed over those tokens: ln E when the router is undecided, 0 when it
/// is sure of one expert. A float64 number and a measurement: no gradient.
at::Tensor router_entropy(const Route& route, const at::Tensor& valid);

/// Copies of valid tokens for each expert. On the host, as the next.
std::vector<int64_t> count_valid_copies(const at::Tensor& expert_ids,
                                        const at::Tensor& valid,
                                        int64_t num_experts);
/// The same by set of tokens: adds them to `counts` [sets, E] int64.
void add_valid_copies(const at::Tensor& expert_ids,
                      const at::Tensor& valid,
                      const at::Tensor& set_of,
                      at::Tensor& counts);

}  // namespace enodia
