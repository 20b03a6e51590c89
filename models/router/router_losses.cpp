#include "models/router/router_losses.h"

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/ge.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "common/error.h"
#include "parallel/tensor_view.h"

namespace enodia {
namespace {

/// The objective weighs a micro-batch's means by its valid tokens over the step's: its own cancel.
double share_of_token(const BlockState& state) {
  return 1.0 / static_cast<double>(state.context.valid_tokens_of_step);
}

at::Tensor own_valid(const BlockState& state) {
  return at::ge(state.own_labels(), 0);
}

/// On the host, for counts.
at::Tensor own_valid_on_host(const BlockState& state) {
  return at::ge(state.own_host_labels(), 0);
}

/// The set that each of the T tokens is of, on the host.
at::Tensor sets_of_tokens(const BlockState& state, bool by_sequence) {
  return by_sequence ? state.sequence_of : at::zeros_like(state.host_labels);
}

/// On the host.
at::Tensor fractions_of(const RouterLosses::Counts& counts, const Route& route) {
  return load_fractions(
      counts.copies, counts.tokens, route.chosen_ids.size(1), route.probs.scalar_type());
}

}  // namespace

/// Every rank of the tensor-parallel group has all labels, but only its own tokens' choices.
RouterLosses::Counts RouterLosses::count_sets(const BlockState& state,
                                              const Route& route,
                                              bool by_sequence) const {
  const at::Tensor set_of = sets_of_tokens(state, by_sequence);
  const int64_t sets = by_sequence ? state.num_sequences : 1;
  Counts counts{at::zeros({sets, route.probs.size(1)}, at::kLong), at::zeros({sets}, at::kLong)};
  add_valid_copies(
      route.chosen_ids, own_valid_on_host(state), state.cut.own_rows(set_of), counts.copies);
  state.cut.sum(counts.copies);
  counts.tokens.index_add_(0, set_of, at::ge(state.host_labels, 0).to(at::kLong));
  return counts;
}

RouterLosses::Counts RouterLosses::count_global_batch(const BlockState& state,
                                                      const Route& route) const {
  std::vector<int64_t>& so_far = state.so_far->by_layer.at(moe_layer_);
  const auto experts = static_cast<int64_t>(so_far.size()) - 1;
  const at::Tensor valid = own_valid_on_host(state);
  std::vector<int64_t> counts = count_valid_copies(route.chosen_ids, valid, experts);
  counts.push_back(valid.sum().item<int64_t>());
  world_.all_reduce(view(std::span(counts)), ReduceOp::kSum).wait();
  std::transform(counts.begin(), counts.end(), so_far.begin(), so_far.begin(), std::plus<>());
  if (so_far.back() > state.context.valid_tokens_of_step) {  // a doubled message keeps every ratio
    throw CommError("the ranks have counted " + std::to_string(so_far.back()) +
                    " valid tokens in a step of " +
                    std::to_string(state.context.valid_tokens_of_step) +
                    "; a message between them was damaged");
  }
  const at::Tensor all = at::tensor(so_far, at::kLong).unsqueeze(0);
  return {all.narrow(1, 0, experts), all.select(1, experts)};
}

RouterLosses::AllCounts RouterLosses::count(const BlockState& state, const Route& route) const {
  AllCounts counts;
  counts.sets = options_.aux_loss_scope == AuxLossScope::kGlobalBatch
                    ? count_global_batch(state, route)
                    : count_sets(state, route, by_sequence());
  if (options_.device_loss_coef > 0) {
    counts.micro_batch = count_sets(state, route, /*by_sequence=*/false);
  }
  return counts;
}

RouterLosses::Result RouterLosses::evaluate(const BlockState& state,
                                            const Route& route,
                                            const AllCounts& counts) const {
  const at::Tensor valid = own_valid(state);
  const double share = share_of_token(state);
  const auto beside_probs = [&route](const at::Tensor& x) { return x.to(route.probs.device()); };
  Result result;
  const RouterLoss aux =
      balance_loss(route,
                   valid,
                   beside_probs(state.cut.own_rows(sets_of_tokens(state, by_sequence()))),
                   beside_probs(fractions_of(counts.sets, route)),
                   options_.aux_loss_coef * share);
  result.sums.aux = aux.sum;
  result.grad_probs = aux.gradient;
  if (options_.device_loss_coef > 0) {
    const at::Tensor fractions =
        group_fractions(fractions_of(counts.micro_batch, route), options_.device_groups);
    const RouterLoss device = balance_loss(route,
                                           valid,
                                           at::zeros_like(state.own_labels()),
                                           beside_probs(fractions),
                                           options_.device_loss_coef * share);
    result.sums.device = device.sum;
    result.grad_probs = result.grad_probs + device.gradient;
  }
  const RouterLoss z = z_loss(route, valid, options_.z_loss_coef * share);
  result.sums.z = z.sum;
  result.grad_logits = z.gradient;
  return result;
}

}  // namespace enodia
