#include "models/moe_block.h"

#include <array>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ge.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "models/ops.h"
#include "models/router/admission.h"
#include "models/router/forced_skew.h"
#include "models/router/jitter.h"
#include "parallel/tensor_view.h"

namespace enodia {
namespace {

enum Phase : int { kGate, kCounts, kDispatch, kExperts, kCombine, kNumPhases };
constexpr std::array<std::string_view, kNumPhases> kPhaseNames{
    "gate", "counts", "dispatch", "experts", "combine"};

}  // namespace

struct MoeBlock::Saved : SavedState {
  at::Tensor hidden, normed, rstd;
  at::Tensor jitter;  // of the router's input; undefined = none
  SharedExperts::Saved shared;
  at::Tensor shared_out;
  LocalGraph router;
  Route route;
  RouterLosses::AllCounts counts;
  RouterLosses::Result losses;
  ExchangedCounts exchanged;  // until the planner has seen them
  ExpertPlacement placement;  // of the plan: backward computes where forward did
  TokenMap map;
  MovingRows rows, choices;  // under way: tokens and their weights, or the gradients of both
  ExpertInput input;
  at::Tensor gate_up, output;                   // of the experts, [R, 2F] and [R, D]
  at::Tensor grad_normed, grad_choice_weights;  // [T, D] and [T, K], in the wide type
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
          .renormalize = options.norm_topk_prob,
          .scale = options.routed_scaling_factor,
          .scoring =
              options.scoring_func == "sigmoid" ? ScoringFunc::kSigmoid : ScoringFunc::kSoftmax,
          .num_groups = options.n_group,
          .num_chosen_groups = options.topk_group,
          .group_score = options.group_score == "max" ? GroupScore::kMax : GroupScore::kTop2Sum,
          .reads_scores = router.capacity_factor > 0 && router.drop_policy == DropPolicy::kProbs},
      losses_(router, wiring.moe_layer, *wiring.world),
      wiring_(wiring),
      dispatcher_(*wiring.group, wiring.device, wiring.dispatch_dtype),
      norm_(registry.add_dense(
          {{layer_name + ".post_attention_layernorm.weight", options.hidden_size}},
          0,
          {.decays = false, .initializer = Initializer::kOnes, .wide = true})),
      router_(make_router(options, layer_name + ".mlp.gate", registry)) {
  if (options.use_expert_bias) {
    bias_ = &registry.add_dense(
        {{layer_name + ".mlp.gate.e_score_correction_bias", options.num_experts}},
        0,
        {.decays = false, .trained = false, .initializer = Initializer::kZeros, .wide = true});
  }
  if (options.shared_width() > 0) {
    shared_.emplace(options, layer_name + ".mlp", registry);
  }
}

int MoeBlock::num_phases() const {
  return kNumPhases;
}
int MoeBlock::fetching_phase() const {
  return kExperts;
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

at::Tensor MoeBlock::make_logits(const BlockState& state, Saved& saved) const {
  auto [normed, rstd] = ops::rms_norm(saved.hidden, norm_.value, options_.rms_norm_eps);
  saved.normed = normed;
  saved.rstd = rstd;
  return router_->forward(router_input(state, saved),
                          state.context.training ? &saved.router : nullptr);
}

void MoeBlock::gate(BlockState& state, Saved& saved) {
  saved.hidden = state.hidden;
  saved.route = route_tokens(make_logits(state, saved),
                             options_.num_experts_per_tok,
                             route_options_,
                             preference_bias(state, saved));
  if (!state.context.training) {
    return;
  }
  saved.counts = losses_.count(state, saved.route);
  saved.losses = losses_.evaluate(state, saved.route, saved.counts);
  state.losses += saved.losses.sums;
  add_load(state, saved);
  if (router_options_.capacity_factor > 0) {
    drop_copies(state, saved);
  }
  if (state.observe_routes != nullptr) {
    (*state.observe_routes)({state.context.step,
                             state.context.micro_batch,
                             wiring_.moe_layer,
                             state.first_token + state.cut.mine().first,
                             saved.route.chosen_ids,
                             saved.route.expert_ids});
  }
}

/// Keeps the input and the decisions, and what is counted over other ranks.
void MoeBlock::forget(BlockState& state) {
  Saved& saved = state.saved<Saved>(wiring_.index);
  const at::Tensor hidden = saved.hidden;
  Route made;
  made.choices = saved.route.choices;
  made.chosen_ids = saved.route.chosen_ids;
  made.expert_ids = saved.route.expert_ids;
  made.counts = std::move(saved.route.counts);
  made.margin = saved.route.margin;
  TokenMap map = std::move(saved.map);
  ExpertPlacement placement = std::move(saved.placement);
  const RouterLosses::AllCounts counts = saved.counts;
  Saved& fresh = state.renew<Saved>(wiring_.index);
  fresh.hidden = hidden;
  fresh.route = std::move(made);
  fresh.map = std::move(map);
  fresh.placement = std::move(placement);
  fresh.counts = counts;
}

/// The outputs of experts are not needed, nor are hidden products, which backward makes again.
void MoeBlock::recompute(BlockState& state, int phase) {
  Saved& saved = state.saved<Saved>(wiring_.index);
  switch (phase) {
    case kGate:
      saved.route = replay_route(make_logits(state, saved), saved.route, route_options_);
      saved.losses = losses_.evaluate(state, saved.route, saved.counts);
      return;
    case kDispatch:
      send_tokens(saved);
      if (shared_) {
        shared_->recompute(state.cut, saved.normed, saved.shared);
      }
      return;
    case kExperts:
      saved.input = {saved.rows.wait(), saved.choices.wait(), saved.map.slot_offsets};
      return;
    default:
      return;
  }
}

RandomKey MoeBlock::random_key(const BlockState& state, std::string_view purpose) const {
  return RandomKey(state.context.seed)
      .with(purpose)
      .with(static_cast<uint64_t>(state.context.step))
      .with(static_cast<uint64_t>(wiring_.moe_layer));
}

/// What is added to the scores before experts are chosen: [E], [Tr, E] or nothing.
at::Tensor MoeBlock::preference_bias(const BlockState& state, const Saved& saved) const {
  const int64_t tokens = saved.hidden.size(0);
  if (wiring_.emulation.counts != nullptr && state.context.training) {
    const auto counts = wiring_.emulation.counts->of(
        state.context.step, state.context.micro_batch, wiring_.moe_layer, wiring_.world->rank());
    return counted_preferences(spread_copies(counts, tokens, options_.num_experts_per_tok),
                               tokens,
                               ops::wide(saved.hidden).options());
  }
  if (router_options_.forced_skew > 0 && state.context.training) {
    return forced_preferences(RandomKey(state.context.seed)
                                  .with("forced_skew")
                                  .with(static_cast<uint64_t>(wiring_.moe_layer)),
                              state.first_token + state.cut.mine().first,
                              tokens,
                              options_.num_experts,
                              router_options_.forced_skew,
                              ops::wide(saved.hidden).options());
  }
  return bias_ != nullptr ? bias_->value : at::Tensor();
}

/// In the wide type.
at::Tensor MoeBlock::router_input(const BlockState& state, Saved& saved) const {
  const at::Tensor normed = ops::wide(saved.normed);
  if (router_options_.jitter_eps == 0 || !state.context.training) {
    return normed;
  }
  if (!saved.jitter.defined()) {
    saved.jitter = jitter_factors(random_key(state, "jitter"),
                                  state.first_token + state.cut.mine().first,
                                  normed.size(0),
                                  normed.size(1),
                                  router_options_.jitter_eps,
                                  normed.options());
  }
  return normed * saved.jitter;
}

void MoeBlock::add_load(BlockState& state, const Saved& saved) const {
  const at::Tensor valid = at::ge(state.own_host_labels(), 0);
  state.moe_loads.resize(wiring_.store->num_layers());
  MoeLoad& load = state.moe_loads[wiring_.moe_layer];
  load.valid_copies = count_valid_copies(saved.route.chosen_ids, valid, options_.num_experts);
  load.entropy = router_entropy(saved.route, at::ge(state.own_labels(), 0));
  load.margin = saved.route.margin;
}

/// Every rank of the tensor-parallel group knows all copies of the micro-batch and admits alike.
void MoeBlock::drop_copies(BlockState& state, Saved& saved) const {
  Route& route = saved.route;
  const at::Tensor valid = at::ge(state.host_labels, 0);
  CopyCandidates candidates{state.cut.gather(route.chosen_ids), {}, valid, state.first_token};
  if (router_options_.drop_policy == DropPolicy::kProbs) {
    candidates.scores = state.cut.gather(route.chosen_scores);
  }
  const Capacity capacity{capacity_of(router_options_.capacity_factor,
                                      state.num_valid,
                                      options_.num_experts_per_tok,
                                      options_.num_experts),
                          router_options_.drop_policy,
                          random_key(state, "admission")};
  route.expert_ids = state.cut.own_rows(admit(candidates, capacity)).contiguous();
  route.weights = route.weights * at::ge(route.expert_ids, 0).to(route.weights.device());
  const at::Tensor own_valid = state.cut.own_rows(valid).contiguous();
  route.counts =
      count_valid_copies(route.expert_ids, at::ones_like(own_valid), options_.num_experts);
  const std::vector<int64_t> kept =
      count_valid_copies(route.expert_ids, own_valid, options_.num_experts);
  MoeLoad& load = state.moe_loads[wiring_.moe_layer];
  load.dropped = std::accumulate(load.valid_copies.begin(), load.valid_copies.end(), int64_t{0}) -
                 std::accumulate(kept.begin(), kept.end(), int64_t{0});
}

/// Without a plan of this micro-batch yet, the replicas that are foreseen.
void MoeBlock::prefetch(BlockState& state, bool backward) {
  const int layer = wiring_.moe_layer;
  wiring_.store->materialize(pass_of(state),
                             !state.context.training ? wiring_.store->placement(layer)
                             : backward              ? state.saved<Saved>(wiring_.index).placement
                                                     : wiring_.planner->foreseen(layer));
}

void MoeBlock::release_fetched(BlockState& state) {
  wiring_.store->release(pass_of(state));
}

void MoeBlock::exchange(BlockState& state, Saved& saved) {
  const int layer = wiring_.moe_layer;
  ExpertPlanner& planner = *wiring_.planner;
  const int next = (layer + 1) % wiring_.store->num_layers();
  saved.exchanged = exchange_counts(
      *wiring_.group, saved.route.counts, planner.foreseen(next).hash(), planner.reach());
  ExpertPlan plan = state.context.training ? planner.resolve(layer, saved.exchanged)
                                           : planner.at_home(layer, saved.exchanged);
  saved.map = dispatcher_.plan(saved.route.expert_ids, saved.exchanged, plan);
  if (!state.moe_loads.empty()) {
    MoeLoad& load = state.moe_loads[layer];
    load.computed_rows = saved.map.num_received();
    load.plan_hash = saved.map.plan_hash;
    load.plan_mode = planner.mode();
    load.replicas = plan.placement.num_replicas() - wiring_.store->placement(layer).num_replicas();
  }
  saved.placement = std::move(plan.placement);
}

/// `passes` times what the router and the shared experts do forward.
void MoeBlock::spend_on_every_token(const BlockState& state, double passes) const {
  wiring_.emulation.compute->spend(passes * forward_flops(options_, state.layout).every_token);
}

/// `passes` times what the experts do forward. Backward has two: for the inputs, for the weights.
void MoeBlock::spend_on_rows(const Saved& saved, double passes) const {
  const auto rows = static_cast<double>(saved.input.x.size(0));
  wiring_.emulation.compute->spend(passes * rows * forward_flops(options_, {}).token_copy);
}

void MoeBlock::send_tokens(Saved& saved) const {
  saved.rows = dispatcher_.send(saved.map, saved.normed);
  saved.choices = dispatcher_.send_choices(saved.map, saved.route.weights);
}

/// While the tokens travel replicas follow that were not foreseen, those of the next micro-batch
/// are planned, and the shared experts compute.
void MoeBlock::dispatch(BlockState& state, Saved& saved) {
  send_tokens(saved);
  if (state.context.training) {
    wiring_.store->materialize(pass_of(state), saved.placement);
    wiring_.planner->observe(wiring_.moe_layer, saved.exchanged);
  }
  saved.exchanged = {};
  if (is_virtual()) {
    spend_on_every_token(state, 1);
  } else if (shared_) {
    saved.shared_out = shared_->forward(state.cut, saved.normed, saved.shared);
  }
}

void MoeBlock::experts(BlockState& state, Saved& saved) {
  saved.input = {saved.rows.wait(), saved.choices.wait(), saved.map.slot_offsets};
  const Lease lease = wiring_.store->acquire(pass_of(state), saved.placement, LeaseUse::kForward);
  if (is_virtual()) {
    spend_on_rows(saved, 1);
    saved.output = at::zeros_like(saved.input.x);
    return;
  }
  saved.output = experts_forward(saved.input, lease.weights, saved.gate_up);
  if (state.context.recompute == Recompute::kExperts) {
    saved.gate_up = at::Tensor();
    saved.shared.gate_up = at::Tensor();
  }
}

void MoeBlock::combine(BlockState& state, Saved& saved) {
  at::Tensor combined = dispatcher_.collect(saved.map, saved.output).wait();  // in the wide type
  saved.output = at::Tensor();
  if (saved.shared_out.defined()) {
    combined.add_(saved.shared_out);
    saved.shared_out = at::Tensor();
  }
  state.hidden = combined.add_(state.hidden).to(state.hidden.scalar_type());
  if (!state.context.training) {
    state.release(wiring_.index);
  }
}

/// The shared experts' gradients are computed while the tokens' travel.
void MoeBlock::combine_backward(BlockState& state, Saved& saved) {
  saved.rows = dispatcher_.send(saved.map, state.grad_hidden);
  if (is_virtual()) {
    spend_on_every_token(state, kBackwardOverForward);
  } else if (shared_) {
    saved.grad_shared = shared_->backward(state.cut, state.grad_hidden, saved.normed, saved.shared);
  }
}

/// The gradients of the experts' weights are computed while those of their inputs travel.
void MoeBlock::experts_backward(BlockState& state, Saved& saved) {
  Lease lease = wiring_.store->acquire(pass_of(state), saved.placement, LeaseUse::kBackward);
  const at::Tensor grad_output = saved.rows.wait();
  if (is_virtual()) {
    spend_on_rows(saved, 1);
    saved.rows = dispatcher_.collect(saved.map, at::zeros_like(saved.input.x));
    saved.choices = dispatcher_.collect_choices(saved.map, at::zeros_like(saved.input.weights));
    spend_on_rows(saved, 1);
    wiring_.store->send_home(std::move(lease));
    return;
  }
  if (!saved.gate_up.defined()) {
    saved.gate_up = experts_hidden(saved.input, lease.weights);
  }
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
  at::Tensor grad_logits = route_backward(
      saved.route, saved.grad_choice_weights, saved.losses.grad_probs, route_options_);
  grad_logits.add_(saved.losses.grad_logits);
  at::Tensor grad_normed = router_->backward(grad_logits, router_input(state, saved), saved.router);
  if (saved.jitter.defined()) {
    grad_normed.mul_(saved.jitter);
  }
  grad_normed.add_(saved.grad_normed);
  if (saved.grad_shared.defined()) {
    grad_normed.add_(saved.grad_shared);
  }
  at::Tensor norm_grad = norm_.grad;
  state.grad_hidden =
      ops::rms_norm_backward(grad_normed, saved.hidden, norm_.value, saved.rstd, norm_grad)
          .add_(state.grad_hidden);
  state.release(wiring_.index);
}

}  // namespace enodia
