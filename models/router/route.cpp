#include "models/router/route.h"

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

namespace enodia {

Route route_tokens(const at::Tensor& logits, int64_t num_chosen, const WeightOptions& options) {
  Route route;
  route.logits = logits;
  route.probs = at::softmax(logits, 1);
  // A stable descending sort, not topk: equal probabilities must go to the smaller id everywhere.
  const auto [sorted, ids] = at::sort(route.probs, /*stable=*/true, /*dim=*/1, /*descending=*/true);
  at::Tensor weights = sorted.narrow(1, 0, num_chosen).contiguous();
  if (options.renormalize) {
    weights = weights / weights.sum(1, /*keepdim=*/true);
  }
  route.weights = weights.mul(options.scale);
  route.expert_ids = ids.narrow(1, 0, num_chosen).to(at::kInt).contiguous();
  const at::Tensor everyone = at::ones({logits.size(0)}, at::TensorOptions().dtype(at::kBool));
  route.counts = count_valid_copies(route.expert_ids, everyone, logits.size(1));
  return route;
}

at::Tensor route_backward(const Route& route,
                          const at::Tensor& grad_weights,
                          const at::Tensor& grad_probs,
                          const WeightOptions& options) {
  const at::Tensor ids = route.expert_ids.to(at::kLong);
  at::Tensor grad_chosen = grad_weights.mul(options.scale);
  if (options.renormalize) {
    // w = p / s with s = sum p: dp_j = (dw_j - sum_k dw_k w_k) / s, where w is before scaling.
    const at::Tensor chosen = route.probs.gather(1, ids);
    const at::Tensor total = chosen.sum(1, true);
    const at::Tensor mean = (grad_chosen * chosen).sum(1, true) / total;
    grad_chosen = (grad_chosen - mean) / total;
  }
  at::Tensor grad = grad_probs.defined() ? grad_probs.clone() : at::zeros_like(route.probs);
  grad.scatter_add_(1, ids, grad_chosen);
  return route.probs * (grad - (grad * route.probs).sum(1, true));
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
  loss.gradient = route.probs * (lse * (2.0 * grad_scale)).unsqueeze(1);
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
