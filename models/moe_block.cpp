#include "models/moe_block.h"

#include <array>

#include <ATen/ops/ge.h>

#include "models/ops.h"

namespace enodia {
namespace {

enum Phase : int { kGate, kCounts, kDispatch, kExperts, kCombine, kNumPhases };
constexpr std::array<std::string_view, kNumPhases> kPhaseNames{
    "gate", "counts", "dispatch", "experts", "combine"};

}  // namespace

struct MoeBlock::Saved : SavedState {
  at::Tensor hidden, normed, rstd;
  SharedExperts::Saved shared;
  at::Tensor shared_out;
  LocalGraph router;
  Route route;
  at::Tensor grad_probs, grad_logits;  // of the router's losses, [T, E]
  TokenMap map;
  MovingRows rows, choices;  // under way: tokens and their weights, or the gradients of both
  ExpertInput input;
  at::Tensor gate_up, output;                   // of the experts, [R, 2F] and [R, D]
  at::Tensor grad_normed, grad_choice_weights;  // [T, D], [T, K]
  at::Tensor grad_shared;                       // [T, D]
};

MoeBlock::MoeBlock(const ModelOptions& options,
                   const RouterOptions& router,
                   const std::string& layer_name,
                   const Wiring& wiring,
                   ParameterRegistry& registry,
                   const RouterFactory& make_router)
    : options_(options),
      router_options_(router),
      route_options_{
          options.norm_topk_prob,
          options.routed_scaling_factor,
          options.scoring_func == "sigmoid" ? ScoringFunc::kSigmoid : ScoringFunc::kSoftmax},
      wiring_(wiring),
      dispatcher_(*wiring.group),
      norm_(registry.add_dense(
          {{layer_name + ".post_attention_layernorm.weight", options.hidden_size}},
          0,
          {.decays = false, .initializer = Initializer::kOnes})),
      router_(make_router(options, layer_name + ".mlp.gate", registry)) {
  if (options.shared_width() > 0) {
    shared_.emplace(options, layer_name + ".mlp", registry);
  }
}

int MoeBlock::num_phases() const {
  return kNumPhases;
}
std::string_view MoeBlock::phase_name(int phase) const {
  return kPhaseNames.at(phase);
}

void MoeBlock::forward(BlockState& state, int phase) {
  Saved& saved = state.saved<Saved>(wiring_.index);
  switch (phase) {
    case kGate:
      return gate(state, saved);
    case kCounts:
      return exchange(state, saved);
    case kDispatch:
      return dispatch(state, saved);
    case kExperts:
      return experts(state, saved);
    case kCombine:
      return combine(state, saved);
  }
}

void MoeBlock::backward(BlockState& state, int phase) {
  Saved& saved = state.saved<Saved>(wiring_.index);
  switch (phase) {
    case kGate:
      return gate_backward(state, saved);
    case kCounts:
      return;  // integers have no gradient; backward uses the plan of forward
    case kDispatch:
      return dispatch_backward(state, saved);
    case kExperts:
      return experts_backward(state, saved);
    case kCombine:
      return combine_backward(state, saved);
  }
}

void MoeBlock::gate(BlockState& state, Saved& saved) {
  saved.hidden = state.hidden;
  auto [normed, rstd] = ops::rms_norm(state.hidden, norm_.value, options_.rms_norm_eps);
  saved.normed = normed;
  saved.rstd = rstd;
  saved.route =
      route_tokens(router_->forward(normed, state.context.training ? &saved.router : nullptr),
                   options_.num_experts_per_tok,
                   route_options_);
  if (state.labels.defined()) {
    add_losses(state, saved);
  }
}

void MoeBlock::add_losses(BlockState& state, Saved& saved) const {
  const at::Tensor valid = at::ge(state.own_labels(), 0);
  std::vector<int64_t> counts =
      count_valid_copies(saved.route.expert_ids, valid, options_.num_experts);
  std::vector<int64_t> micro_batch_counts = counts;
  state.cut.sum(micro_batch_counts);
  // The objective weighs a micro-batch's means by n_mb / N: their n_mb cancels.
  const double per_token = 1.0 / static_cast<double>(state.context.valid_tokens_of_step);
  RouterLoss aux = aux_loss(
      saved.route, valid, micro_batch_counts, state.num_valid, router_options_.aux_loss_coef * per_token);
  RouterLoss z = z_loss(saved.route, valid, router_options_.z_loss_coef * per_token);
  state.losses.aux += aux.sum;
  state.losses.z += z.sum;
  saved.grad_probs = aux.gradient;
  saved.grad_logits = z.gradient;
  state.moe_loads.resize(wiring_.store->num_layers());
  MoeLoad& load = state.moe_loads[wiring_.moe_layer];
  load.valid_copies = std::move(counts);
  load.entropy = router_entropy(saved.route, valid);
  load.margin = saved.route.margin;
}

void MoeBlock::exchange(BlockState& state, Saved& saved) {
  const int next = (wiring_.moe_layer + 1) % wiring_.store->num_layers();
  const ExchangedCounts counts =
      exchange_counts(*wiring_.group, saved.route.counts, wiring_.store->placement(next).hash());
  const ExpertPlan plan = even_plan(wiring_.store->placement(wiring_.moe_layer), counts.totals());
  saved.map = dispatcher_.plan(saved.route.expert_ids, counts, plan);
  if (!state.moe_loads.empty()) {
    state.moe_loads[wiring_.moe_layer].computed_rows = saved.map.num_received();
  }
}

/// The shared experts compute while the tokens travel.
void MoeBlock::dispatch(BlockState& state, Saved& saved) {
  saved.rows = dispatcher_.send(saved.map, saved.normed);
  saved.choices = dispatcher_.send_choices(saved.map, saved.route.weights);
  if (shared_) {
    saved.shared_out = shared_->forward(state.cut, saved.normed, saved.shared);
  }
}

void MoeBlock::experts(BlockState& /*state*/, Saved& saved) {
  saved.input = {saved.rows.wait(), saved.choices.wait(), saved.map.slot_offsets};
  const Lease lease = wiring_.store->acquire(wiring_.moe_layer, LeaseUse::kForward);
  saved.output = experts_forward(saved.input, lease.weights, saved.gate_up);
}

void MoeBlock::combine(BlockState& state, Saved& saved) {
  at::Tensor combined = dispatcher_.collect(saved.map, saved.output).wait();
  saved.output = at::Tensor();
  if (shared_) {
    combined.add_(saved.shared_out);
    saved.shared_out = at::Tensor();
  }
  state.hidden = combined.add_(state.hidden);
  if (!state.context.training) {
    state.release(wiring_.index);
  }
}

/// The shared experts' gradients are computed while the tokens' travel.
void MoeBlock::combine_backward(BlockState& state, Saved& saved) {
  saved.rows = dispatcher_.send(saved.map, state.grad_hidden);
  if (shared_) {
    saved.grad_shared =
        shared_->backward(state.cut, state.grad_hidden, saved.normed, saved.shared);
  }
}

/// The gradients of the experts' weights are computed while those of their inputs travel.
void MoeBlock::experts_backward(BlockState& /*state*/, Saved& saved) {
  Lease lease = wiring_.store->acquire(wiring_.moe_layer, LeaseUse::kBackward);
  const at::Tensor grad_output = saved.rows.wait();
  const ExpertGradients grad =
      experts_backward_input(grad_output, saved.input, saved.gate_up, lease.weights);
  saved.rows = dispatcher_.collect(saved.map, grad.x);
  saved.choices = dispatcher_.collect_choices(saved.map, grad.weights);
  experts_backward_weights(grad_output, saved.input, saved.gate_up, grad.gate_up, lease.gradients);
  wiring_.store->send_home(std::move(lease));
}

void MoeBlock::dispatch_backward(BlockState& /*state*/, Saved& saved) {
  saved.grad_normed = saved.rows.wait();
  saved.grad_choice_weights = saved.choices.wait();
}

void MoeBlock::gate_backward(BlockState& state, Saved& saved) {
  at::Tensor grad_logits =
      route_backward(saved.route, saved.grad_choice_weights, saved.grad_probs, route_options_);
  if (saved.grad_logits.defined()) {
    grad_logits.add_(saved.grad_logits);
  }
  at::Tensor grad_normed = router_->backward(grad_logits, saved.normed, saved.router);
  grad_normed.add_(saved.grad_normed);
  if (shared_) {
    grad_normed.add_(saved.grad_shared);
  }
  at::Tensor norm_grad = norm_.grad;
  state.grad_hidden =
      ops::rms_norm_backward(grad_normed, saved.hidden, norm_.value, saved.rstd, norm_grad)
          .add_(state.grad_hidden);
  state.release(wiring_.index);
}

}  // namespace enodia
