#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include <ATen/core/Tensor.h>

namespace enodia {

/// model.scoring_func: the scores of a token's E experts sum to one, or each stands for itself in
/// (0, 1) (DeepSeek-V3, arXiv 2412.19437, section 2.1.2).
enum class ScoringFunc : uint8_t { kSoftmax, kSigmoid };

/// A router's decision for T tokens: E experts, K per token. Always in the wide type.
struct Route {
  ScoringFunc scoring = ScoringFunc::kSoftmax;
  at::Tensor expert_ids;        ///< [T, K] int32, -1 = empty
  at::Tensor weights;           ///< [T, K]
  at::Tensor scores;            ///< [T, E] softmax or sigmoid of the logits
  at::Tensor probs;             ///< [T, E] scores that sum to one: those of softmax themselves
  at::Tensor logits;            ///< [T, E]
  std::vector<int64_t> counts;  ///< [E] token copies of each expert on this rank
  /// The smallest difference between the last score that was chosen and the first that was not:
  /// with rounding of that size another expert would have been chosen. Infinite without a choice
  /// (no tokens, or K = E).
  double margin = std::numeric_limits<double>::infinity();
};

/// How logits become scores, and the chosen scores weights.
struct RouteOptions {
  bool renormalize = true;  ///< divide by the sum over the chosen
  double scale = 1.0;       ///< routed_scaling_factor
  ScoringFunc scoring = ScoringFunc::kSoftmax;
};

/// Score: `options.scoring`. Select: the K largest scores, ties to the smaller id. Weight: the
/// chosen scores. Admit: every copy (dropless). Local.
Route route_tokens(const at::Tensor& logits, int64_t num_chosen, const RouteOptions& options);

/// The gradient of the logits from the gradient of the weights [T, K] and, when defined, of the
/// probabilities [T, E]. The choice itself has no gradient.
at::Tensor route_backward(const Route& route,
                          const at::Tensor& grad_weights,
                          const at::Tensor& grad_probs,
                          const RouteOptions& options);

/// A loss of the router over the valid tokens of one micro-batch.
struct RouterLoss {
  double sum = 0;  ///< the loss times the valid tokens
  /// [T, E] of grad_scale * loss * valid tokens; see the functions. May be undefined (zero) when no
  /// token is valid.
  at::Tensor gradient;
};

/// L_aux = E sum_i f_i P_i (Switch Transformer, eq. 4-6; 1 at uniform); gradient [T, E] is that of
/// the probabilities. `valid` is [T] bool, `valid_counts` [E] counts copies of valid tokens and
/// `num_valid` those tokens, of the whole micro-batch; the sum is this rank's part of it.
RouterLoss aux_loss(const Route& route,
                    const at::Tensor& valid,
                    const std::vector<int64_t>& valid_counts,
                    int64_t num_valid,
                    double grad_scale);

/// L_z = mean over valid tokens of logsumexp(logits)^2 (ST-MoE, eq. 5); gradient [T, E] is that of
/// the logits.
RouterLoss z_loss(const Route& route, const at::Tensor& valid, double grad_scale);

/// The entropy -sum_i q_i ln q_i of each valid token's probabilities, made to sum to one
/// (q = p / sum p), in nats, summed over those tokens: ln E when the router is undecided, 0 when it
/// is sure of one expert. A measurement: no gradient.
double router_entropy(const Route& route, const at::Tensor& valid);

/// Copies of valid tokens for each expert.
std::vector<int64_t> count_valid_copies(const at::Tensor& expert_ids,
                                        const at::Tensor& valid,
                                        int64_t num_experts);

}  // namespace enodia
