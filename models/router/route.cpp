#include "models/router/route.h"

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

namespace enodia {
namespace {

/// What scores are divided by when they are to sum to one, [T, 1]. Sigmoids may all underflow:
/// 1e-20 as DeepSeek-V3's code adds, which is lost in the rounding of a sum of probabilities.
at::Tensor sum_of_scores(const at::Tensor& scores) {
  return scores.sum(1, /*keepdim=*/true) + 1e-20;
}

}  // namespace

Route route_tokens(const at::Tensor& logits, int64_t num_chosen, const RouteOptions& options) {
  Route route;
  route.scoring = options.scoring;
  route.logits = logits;
  if (options.scoring == ScoringFunc::kSoftmax) {
    route.scores = route.probs = at::softmax(logits, 1);
  } else {
    route.scores = at::sigmoid(logits);
    route.probs = route.scores / sum_of_scores(route.scores);
  }
  // A stable descending sort, not topk: equal scores must go to the smaller id everywhere.
  const auto [sorted, ids] =
      at::sort(route.scores, /*stable=*/true, /*dim=*/1, /*descending=*/true);
  at::Tensor weights = sorted.narrow(1, 0, num_chosen).contiguous();
  if (options.renormalize) {
    weights = weights / sum_of_scores(weights);
  }
  route.weights = weights.mul(options.scale);
  route.expert_ids = ids.narrow(1, 0, num_chosen).to(at::kInt).contiguous();
  if (logits.size(0) > 0 && num_chosen < logits.size(1)) {
    route.margin =
        (sorted.select(1, num_chosen - 1) - sorted.select(1, num_chosen)).min().item<double>();
  }
  const at::Tensor everyone = at::ones({logits.size(0)}, at::TensorOptions().dtype(at::kBool));
  route.counts = count_valid_copies(route.expert_ids, everyone, logits.size(1));
  return route;
}

at::Tensor route_backward(const Route& route,
                          const at::Tensor& grad_weights,
                          const at::Tensor& grad_probs,
                          const RouteOptions& options) {
  const at::Tensor ids = route.expert_ids.to(at::kLong);
  at::Tensor grad_chosen = grad_weights.mul(options.scale);
  if (options.renormalize) {
    // w = s / S with S = sum s: ds_j = (dw_j - sum_k dw_k w_k) / S, where w is before scaling.
    const at::Tensor chosen = route.scores.gather(1, ids);
    const at::Tensor total = sum_of_scores(chosen);
    const at::Tensor mean = (grad_chosen * chosen).sum(1, true) / total;
    grad_chosen = (grad_chosen - mean) / total;
  }
  const bool is_softmax = route.scoring == ScoringFunc::kSoftmax;
  at::Tensor grad;  // of the scores
  if (!grad_probs.defined()) {
    grad = at::zeros_like(route.scores);
  } else if (is_softmax) {
    grad = grad_probs.clone();
  } else {
    // p = s / S over all experts, as above.
    const at::Tensor mean = (grad_probs * route.probs).sum(1, true);
    grad = (grad_probs - mean) / sum_of_scores(route.scores);
  }
  grad.scatter_add_(1, ids, grad_chosen);
  if (is_softmax) {
    return route.scores * (grad - (grad * route.scores).sum(1, true));
  }
  return grad * route.scores * (1 - route.scores);
}

RouterLoss aux_loss(const Route& route,
                    const at::Tensor& valid,
                    const std::vector<int64_t>& valid_counts,
                    int64_t num_valid,
                    double grad_scale) {
  RouterLoss loss;
  if (num_valid == 0) {
    return loss;
  }
  const auto experts = static_cast<double>(valid_counts.size());
  const auto chosen = static_cast<double>(route.expert_ids.size(1));
  const at::Tensor fraction =
      at::tensor(at::ArrayRef<int64_t>(valid_counts)).to(route.probs.scalar_type()) /
      (chosen * static_cast<double>(num_valid));
  const at::Tensor mask = valid.to(route.probs.scalar_type()).unsqueeze(1);
  // L n_mb = E sum_i f_i sum_t p_ti, since P_i = sum_t p_ti / n_mb.
  const at::Tensor summed = (route.probs * mask).sum(0);
  loss.sum = experts * (fraction * summed).sum().to(at::kDouble).item<double>();
  loss.gradient = (mask * fraction) * (experts * grad_scale);
  return loss;
}

RouterLoss z_loss(const Route& route, const at::Tensor& valid, double grad_scale) {
  RouterLoss loss;
  const at::Tensor mask = valid.to(route.probs.scalar_type());
  const at::Tensor lse = at::logsumexp(route.logits, {1}) * mask;
  loss.sum = (lse * lse).sum().to(at::kDouble).item<double>();
  const bool is_softmax = route.scoring == ScoringFunc::kSoftmax;
  const at::Tensor softmax = is_softmax ? route.probs : at::softmax(route.logits, 1);
  loss.gradient = softmax * (lse * (2.0 * grad_scale)).unsqueeze(1);
  return loss;
}

double router_entropy(const Route& route, const at::Tensor& valid) {
  // -sum q ln q = ln S - sum p ln p / S with S = sum p. A p of zero adds nothing, ln(tiny) times 0.
  const double tiny = std::numeric_limits<float>::min();
  const at::Tensor total = route.probs.sum(1);
  const at::Tensor weighted = (route.probs * route.probs.clamp_min(tiny).log()).sum(1);
  const at::Tensor entropy = total.log() - weighted / total;
  return entropy.mul(valid).sum(at::kDouble).item<double>();
}

std::vector<int64_t> count_valid_copies(const at::Tensor& expert_ids,
                                        const at::Tensor& valid,
                                        int64_t num_experts) {
  std::vector<int64_t> counts(num_experts, 0);
  const auto* id = expert_ids.const_data_ptr<int32_t>();
  const auto* mask = valid.const_data_ptr<bool>();
  for (int64_t t = 0; t < expert_ids.size(0); ++t) {
    for (int64_t k = 0; k < expert_ids.size(1); ++k, ++id) {
      if (mask[t] && *id >= 0) {
        ++counts[*id];
      }
    }
  }
  return counts;
}

}  // namespace enodia
