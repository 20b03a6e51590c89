#include "models/router/route.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros_like.h>

namespace enodia {
namespace {

/// What scores are divided by when they are to sum to one, [T, 1]. Sigmoids may all underflow:
/// 1e-20 as DeepSeek-V3's code adds, which is lost in the rounding of a sum of probabilities.
at::Tensor sum_of_scores(const at::Tensor& scores) {
  return scores.sum(1, /*keepdim=*/true) + 1e-20;
}

/// A route without a choice.
Route score(const at::Tensor& logits, const RouteOptions& options) {
  Route route;
  route.scoring = options.scoring;
  route.logits = logits;
  if (options.scoring == ScoringFunc::kSoftmax) {
    route.scores = route.probs = at::softmax(logits, 1);
  } else {
    route.scores = at::sigmoid(logits);
    route.probs = route.scores / sum_of_scores(route.scores);
  }
  return route;
}

/// Of the experts `ids` [T, K] int64.
at::Tensor weights_of(const Route& route, const at::Tensor& ids, const RouteOptions& options) {
  at::Tensor weights = route.scores.gather(1, ids);
  if (options.renormalize) {
    weights = weights / sum_of_scores(weights);
  }
  return weights.mul(options.scale);
}

/// Columns that were chosen, and how narrowly.
struct Choice {
  at::Tensor ids;     ///< [T, count] int64
  at::Tensor margin;  ///< a number; undefined = nothing to choose
};

/// The `count` largest of each row. A stable descending sort, not topk: equal ones must go to the
/// smaller id everywhere.
Choice choose(const at::Tensor& values, int64_t count) {
  const auto [sorted, ids] = at::sort(values, /*stable=*/true, /*dim=*/1, /*descending=*/true);
  Choice choice{ids.narrow(1, 0, count), {}};
  if (values.size(0) > 0 && count < values.size(1)) {
    choice.margin = (sorted.select(1, count - 1) - sorted.select(1, count)).min();
  }
  return choice;
}

at::Tensor by_group(const at::Tensor& preferences, const RouteOptions& options) {
  const int64_t experts = preferences.size(1) / options.num_groups;
  return preferences.view({preferences.size(0), options.num_groups, experts});
}

Choice choose_groups(const at::Tensor& preferences, const RouteOptions& options) {
  if (options.num_chosen_groups == options.num_groups) {
    return {};
  }
  const at::Tensor grouped = by_group(preferences, options);
  const int64_t best = options.group_score == GroupScore::kMax ? 1 : 2;
  const at::Tensor sorted = std::get<0>(at::sort(grouped, /*dim=*/2, /*descending=*/true));
  return choose(sorted.narrow(2, 0, std::min(best, grouped.size(2))).sum(2),
                options.num_chosen_groups);
}

/// Minus infinity for the experts of groups that were not chosen.
at::Tensor leave_out(const at::Tensor& preferences,
                     const at::Tensor& groups,
                     const RouteOptions& options) {
  if (!groups.defined()) {
    return preferences;
  }
  const at::Tensor grouped = by_group(preferences, options);
  const at::Tensor left_out =
      at::ones({grouped.size(0), grouped.size(1)}, grouped.options().dtype(at::kBool))
          .scatter(1, groups, false);
  return grouped.masked_fill(left_out.unsqueeze(2), -std::numeric_limits<double>::infinity())
      .reshape(preferences.sizes());
}

at::Tensor smaller(const at::Tensor& a, const at::Tensor& b) {
  return !a.defined() ? b : !b.defined() ? a : at::minimum(a, b);
}

/// What the host needs of the decision, in one copy.
void read_choices(Route& route, bool with_scores) {
  if (!with_scores) {
    route.chosen_ids = route.choices.to(at::kInt).to(at::kCPU).contiguous();
    return;
  }
  const at::Tensor scores = route.scores.gather(1, route.choices);
  const at::Tensor read = at::cat({route.choices.to(scores.scalar_type()), scores}, 1).to(at::kCPU);
  const int64_t chosen = scores.size(1);
  route.chosen_ids = read.narrow(1, 0, chosen).to(at::kInt).contiguous();
  route.chosen_scores = read.narrow(1, chosen, chosen).contiguous();
}

}  // namespace

Route route_tokens(const at::Tensor& logits,
                   int64_t num_chosen,
                   const RouteOptions& options,
                   const at::Tensor& bias) {
  Route route = score(logits, options);
  const at::Tensor preferences = bias.defined() ? route.scores + bias : route.scores;
  const Choice groups = choose_groups(preferences, options);
  const Choice experts = choose(leave_out(preferences, groups.ids, options), num_chosen);
  route.margin = smaller(groups.margin, experts.margin);
  route.choices = experts.ids;
  route.weights = weights_of(route, experts.ids, options);
  read_choices(route, options.reads_scores);
  route.expert_ids = route.chosen_ids;
  const at::Tensor everyone = at::ones({logits.size(0)}, at::TensorOptions().dtype(at::kBool));
  route.counts = count_valid_copies(route.expert_ids, everyone, logits.size(1));
  return route;
}

Route replay_route(const at::Tensor& logits, const Route& made, const RouteOptions& options) {
  Route route = score(logits, options);
  route.choices = made.choices;
  route.chosen_ids = made.chosen_ids;
  route.expert_ids = made.expert_ids;
  route.counts = made.counts;
  route.margin = made.margin;
  route.weights = weights_of(route, made.choices, options);
  if (!made.expert_ids.is_same(made.chosen_ids)) {
    route.weights = route.weights * (made.expert_ids >= 0).to(route.weights.device());
  }
  return route;
}

at::Tensor route_backward(const Route& route,
                          const at::Tensor& grad_weights,
                          const at::Tensor& grad_probs,
                          const RouteOptions& options) {
  const at::Tensor& ids = route.choices;  // a dropped copy's gradient is zero
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

RouterLoss balance_loss(const Route& route,
                        const at::Tensor& valid,
                        const at::Tensor& set_of,
                        const at::Tensor& fractions,
                        double grad_scale) {
  const auto experts = static_cast<double>(fractions.size(1));
  const at::Tensor mask = valid.to(route.probs.scalar_type()).unsqueeze(1);
  // L n = E sum_t sum_i f_i p_ti over the n valid tokens of a set, since P_i = sum_t p_ti / n.
  const at::Tensor weights =
      fractions.size(0) == 1 ? mask * fractions : mask * fractions.index_select(0, set_of);
  RouterLoss loss;
  loss.sum = (route.probs * weights).sum(at::kDouble) * experts;
  loss.gradient = weights * (experts * grad_scale);
  return loss;
}

at::Tensor load_fractions(const at::Tensor& counts,
                          const at::Tensor& valid,
                          int64_t num_chosen,
                          at::ScalarType dtype) {
  const at::Tensor copies = valid.clamp_min(1).mul(num_chosen).unsqueeze(1);
  return (counts.to(at::kDouble) / copies).to(dtype);
}

at::Tensor group_fractions(const at::Tensor& fractions, int64_t groups) {
  const at::Tensor grouped = fractions.view({fractions.size(0), groups, -1});
  return grouped.mean(2, /*keepdim=*/true).expand_as(grouped).reshape(fractions.sizes());
}

RouterLoss z_loss(const Route& route, const at::Tensor& valid, double grad_scale) {
  RouterLoss loss;
  const at::Tensor mask = valid.to(route.probs.scalar_type());
  const at::Tensor lse = at::logsumexp(route.logits, {1}) * mask;
  loss.sum = (lse * lse).sum().to(at::kDouble);
  const bool is_softmax = route.scoring == ScoringFunc::kSoftmax;
  const at::Tensor softmax = is_softmax ? route.probs : at::softmax(route.logits, 1);
  loss.gradient = softmax * (lse * (2.0 * grad_scale)).unsqueeze(1);
  return loss;
}

at::Tensor router_entropy(const Route& route, const at::Tensor& valid) {
  // -sum q ln q = ln S - sum p ln p / S with S = sum p. A p of zero adds nothing, ln(tiny) times 0.
  const double tiny = std::numeric_limits<float>::min();
  const at::Tensor total = route.probs.sum(1);
  const at::Tensor weighted = (route.probs * route.probs.clamp_min(tiny).log()).sum(1);
  const at::Tensor entropy = total.log() - weighted / total;
  return entropy.mul(valid).sum(at::kDouble);
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

void add_valid_copies(const at::Tensor& expert_ids,
                      const at::Tensor& valid,
                      const at::Tensor& set_of,
                      at::Tensor& counts) {
  const auto* id = expert_ids.const_data_ptr<int32_t>();
  const auto* mask = valid.const_data_ptr<bool>();
  const auto* set = set_of.const_data_ptr<int64_t>();
  auto* count = counts.mutable_data_ptr<int64_t>();
  for (int64_t t = 0; t < expert_ids.size(0); ++t) {
    for (int64_t k = 0; k < expert_ids.size(1); ++k, ++id) {
      if (mask[t] && *id >= 0) {
        ++count[set[t] * counts.size(1) + *id];
      }
    }
  }
}

}  // namespace enodia
