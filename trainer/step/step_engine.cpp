#include "trainer/step/step_engine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <string>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include "collectives/collectives.h"
#include "common/check.h"
#include "common/memory_ledger.h"
#include "common/random.h"
#include "optim/gradient_norm.h"

namespace enodia {
namespace {

/// On the host.
at::Tensor to_tensor(std::span<const int64_t> values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.data_ptr<int64_t>());
  return tensor;
}

/// Of the tokens of a micro-batch that this rank of a tensor-parallel group has as its own.
int64_t count_own_valid(const MicroBatch& micro_batch, const Communicator& group) {
  const Slice mine = SequenceParallel::own_tokens(group, micro_batch.layout.num_tokens());
  const auto first = micro_batch.labels.begin() + mine.first;
  return mine.count - std::count(first, first + mine.count, MicroBatch::kNoLabel);
}

std::vector<int64_t> sequence_of_tokens(const MicroBatch& micro_batch) {
  std::vector<int64_t> sequences;
  for (size_t i = 0; i < micro_batch.sequence_lengths.size(); ++i) {
    sequences.insert(sequences.end(), micro_batch.sequence_lengths[i], static_cast<int64_t>(i));
  }
  sequences.resize(micro_batch.tokens.size(), 0);
  return sequences;
}

/// Numbers that lie where the rank computes, read with one copy for all.
class Readings {
 public:
  /// `take` gets the number; it is not called when there is none (an undefined tensor).
  void add(const at::Tensor& number, std::function<void(double)> take) {
    if (number.defined()) {
      numbers_.push_back(number.to(at::kDouble));
      takers_.push_back(std::move(take));
    }
  }
  void add_to(double& sum, const at::Tensor& number) {
    add(number, [&sum](double value) { sum += value; });
  }
  void read() {
    if (numbers_.empty()) {
      return;
    }
    const at::Tensor all = at::stack(numbers_).to(at::kCPU);
    for (size_t i = 0; i < takers_.size(); ++i) {
      takers_[i](all.const_data_ptr<double>()[i]);
    }
  }

 private:
  std::vector<at::Tensor> numbers_;
  std::vector<std::function<void(double)>> takers_;
};

}  // namespace

StepEngine::StepEngine(Decoder& decoder,
                       const ProcessMesh& mesh,
                       const StepOptions& options,
                       Trace* trace)
    : decoder_(decoder),
      mesh_(mesh),
      options_(options),
      trace_(trace) {
  for (const auto& block : decoder.blocks()) {
    const auto index = static_cast<int>(phases_of_block_.size());
    recomputed_.push_back(options.recompute == Recompute::kLayers && decoder.layer_of(index) >= 0);
    phases_of_block_.push_back(block->num_phases());
    fetching_phases_.push_back(block->fetching_phase());
  }
  kept_.assign(fetching_phases_.size(), false);
  int left = options.kept_layers;
  for (auto block = std::ssize(fetching_phases_) - 1; block >= 0 && left > 0; --block) {
    kept_[block] = fetching_phases_[block] >= 0;
    left -= kept_[block] ? 1 : 0;
  }
}

StepLosses StepEngine::accumulate_gradients(int64_t step,
                                            std::span<const MicroBatch> micro_batches) {
  const at::NoGradGuard no_grad;
  const int64_t valid_tokens = agree_on_step(micro_batches);

  StepCounts so_far;
  if (decoder_.experts() != nullptr) {
    so_far.by_layer.assign(decoder_.experts()->num_layers(),
                           std::vector<int64_t>(decoder_.options().num_experts + 1, 0));
  }
  std::vector<BlockState> states;
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    states.push_back(make_state(micro_batches[i],
                                {.step = step,
                                 .micro_batch = static_cast<int64_t>(i),
                                 .valid_tokens_of_step = std::max<int64_t>(valid_tokens, 1),
                                 .training = true,
                                 .seed = options_.seed,
                                 .recompute = options_.recompute}));
    states.back().so_far = &so_far;
    states.back().observe_routes = observe_routes_ ? &observe_routes_ : nullptr;
  }
  decoder_.registry().zero_gradients();
  GradientReduction reduction(mesh_, decoder_.registry());
  run(accumulation_schedule(phases_of_block_, static_cast<int>(states.size()), recomputed_),
      states,
      &reduction);
  const ScopedSpan span(trace_, TraceTrack::kCompute, [] { return "reduce gradients and losses"; });
  reduction.finish();
  if (decoder_.experts() != nullptr) {
    decoder_.experts()->finish_gradients();
  }
  return reduce_losses(states, valid_tokens);
}

UpdateResult StepEngine::apply_update(AdamW& optimizer, double lr, const StepLoad& load) {
  const at::NoGradGuard no_grad;
  UpdateResult result;
  result.grad_norm = gradient_norm(mesh_.control(), decoder_.registry());
  result.applied = std::isfinite(result.grad_norm);
  if (result.applied) {
    optimizer.step(lr, optimizer.clip_scale(result.grad_norm));
    decoder_.commit_step(load.tokens);
  }
  return result;
}

StepEngine::Evaluation StepEngine::evaluate(const MicroBatch& micro_batch) {
  const at::NoGradGuard no_grad;
  std::vector<BlockState> states;
  states.push_back(make_state(micro_batch, {.training = false}));
  run(forward_schedule(phases_of_block_), states);
  std::array<double, 2> sums{0.0,
                             static_cast<double>(count_own_valid(micro_batch, mesh_.tensor()))};
  Readings readings;
  readings.add_to(sums[0], states[0].losses.cross_entropy);
  readings.read();
  mesh_.control().all_reduce(view(std::span<double>(sums)), ReduceOp::kSum).wait();
  return {sums[0], static_cast<int64_t>(sums[1])};
}

at::Tensor StepEngine::logits(const MicroBatch& micro_batch, std::span<const int64_t> wanted_rows) {
  const at::NoGradGuard no_grad;
  std::vector<BlockState> states;
  states.push_back(make_state(micro_batch, {.training = false}));
  states[0].labels = at::Tensor();
  states[0].wanted_rows = to_tensor(wanted_rows).to(mesh_.device().place);
  run(forward_schedule(phases_of_block_), states);
  return states[0].logits;
}

BlockState StepEngine::make_state(const MicroBatch& micro_batch, const StepContext& context) const {
  ENODIA_CHECK_EQ(micro_batch.layout.num_tokens(),
                  static_cast<int64_t>(micro_batch.tokens.size()),
                  "the layout is for other tokens");
  const MemoryScope scope(MemoryKind::kData);
  BlockState state;
  state.context = context;
  state.context.generation = decoder_.generation();
  state.cut =
      SequenceParallel(mesh_.tensor(), micro_batch.layout.num_tokens(), mesh_.device().queue);
  state.tokens = to_tensor(micro_batch.tokens).to(mesh_.device().place);
  state.host_labels = to_tensor(micro_batch.labels);
  state.labels = state.host_labels.to(mesh_.device().place);
  state.num_valid = micro_batch.num_valid;
  state.layout = micro_batch.layout;
  state.first_token = micro_batch.first_token;
  state.sequence_of = to_tensor(sequence_of_tokens(micro_batch));
  state.num_sequences = std::max<int64_t>(std::ssize(micro_batch.sequence_lengths), 1);
  return state;
}

std::string StepEngine::name_of(const PhaseCall& call) const {
  const int layer = decoder_.layer_of(call.block);
  std::string place = layer >= 0 ? "layer " + std::to_string(layer) + " " : "";
  return place.append(decoder_.blocks()[call.block]->phase_name(call.phase)) +
         (call.direction == Direction::kForward     ? " forward"
          : call.direction == Direction::kRecompute ? " recompute"
                                                    : " backward");
}

void StepEngine::run(const StepSchedule& schedule,
                     std::vector<BlockState>& states,
                     GradientReduction* reduction) {
  const std::vector<size_t> last_calls = last_call_of_blocks(schedule, phases_of_block_.size());
  const std::vector<Fetching> fetching = plan_fetching(schedule, fetching_phases_, kept_);
  for (size_t i = 0; i < schedule.size(); ++i) {
    const PhaseCall& call = schedule[i];
    if (fetching[i].prefetch) {
      const PhaseCall& later = schedule[*fetching[i].prefetch];
      decoder_.blocks()[later.block]->prefetch(states[later.micro_batch],
                                               later.direction == Direction::kBackward);
    }
    {
      const ScopedSpan span(
          trace_, TraceTrack::kCompute, [&] { return name_of(call); }, call.micro_batch);
      call_phase(call, states[call.micro_batch]);
    }
    if (fetching[i].release) {
      decoder_.blocks()[call.block]->release_fetched(states[call.micro_batch]);
    }
    if (reduction != nullptr && call.direction == Direction::kBackward &&
        i == last_calls[call.block]) {
      reduction->ready_from(call.block);
    }
  }
}

void StepEngine::call_phase(const PhaseCall& call, BlockState& state) {
  Block& block = *decoder_.blocks()[call.block];
  if (call.direction == Direction::kForward) {
    block.forward(state, call.phase);
    if (state.context.training && recomputed_[call.block] &&
        call.phase + 1 == phases_of_block_[call.block]) {
      block.forget(state);
    }
    return;
  }
  ENODIA_CHECK_EQ(state.context.generation,
                  decoder_.generation(),
                  "the weights changed between forward and backward");
  if (call.direction == Direction::kRecompute) {
    block.recompute(state, call.phase);
  } else {
    block.backward(state, call.phase);
  }
}

/// Sums the valid tokens over the ranks: of a micro-batch each rank of a tensor-parallel group
/// knows all tokens and counts its own. The hash of the first MoE layer's plan rides along: ranks
/// that disagree on it find out here, before any exchange could hang.
int64_t StepEngine::agree_on_step(std::span<const MicroBatch> micro_batches) {
  std::array<int64_t, 2> mine{};  // valid tokens, hash
  for (const MicroBatch& micro_batch : micro_batches) {
    mine[0] += count_own_valid(micro_batch, mesh_.tensor());
  }
  if (decoder_.experts() != nullptr) {
    mine[1] = static_cast<int64_t>(decoder_.planner()->foreseen(0).hash());
  }
  std::vector<int64_t> all(mine.size() * mesh_.world_size());
  all_gather(mesh_.control(), view(std::span<int64_t>(mine)), view(std::span<int64_t>(all))).wait();
  int64_t valid_tokens = 0;
  for (int rank = 0; rank < mesh_.world_size(); ++rank) {
    valid_tokens += all[2 * rank];
    if (all[2 * rank + 1] != all[1]) {
      throw CommError("ranks 0 and " + std::to_string(rank) +
                      " disagree on the plan of the first MoE layer; their configurations, seeds "
                      "or binaries differ");
    }
  }
  return valid_tokens;
}

/// One all-reduce for everything that a step measures. Counts travel as doubles, exact below 2^53.
StepLosses StepEngine::reduce_losses(const std::vector<BlockState>& states, int64_t valid_tokens) {
  const int64_t layers = decoder_.experts() != nullptr ? decoder_.experts()->num_layers() : 0;
  const int64_t experts = decoder_.options().num_experts;
  const int64_t ranks = mesh_.world_size();
  constexpr int64_t kScalars = 8;
  std::vector<double> sums(kScalars + ranks + layers * (1 + experts + ranks), 0.0);
  sums[3] = stop_wanted_ != nullptr && *stop_wanted_ ? 1.0 : 0.0;
  double* const margins = sums.data() + kScalars;  // [ranks], each its own
  double* const entropy = margins + ranks;         // [layers]
  double* const tokens = entropy + layers;         // [layers, experts]
  double* const rows = tokens + layers * experts;  // [layers, ranks]
  double& margin = margins[mesh_.rank()] = std::numeric_limits<double>::infinity();
  LossSums losses;
  Readings readings;
  PlanModeCounts modes{};
  RandomKey plans(static_cast<uint64_t>(std::ssize(states)));
  for (const BlockState& state : states) {
    losses += state.losses;
    for (int64_t layer = 0; layer < layers; ++layer) {
      const MoeLoad& load = state.moe_loads.at(layer);
      readings.add_to(entropy[layer], load.entropy);
      plans = plans.with(load.plan_hash);
      ++modes[static_cast<size_t>(load.plan_mode)];
      sums[7] += mesh_.rank() == 0 ? static_cast<double>(load.replicas) : 0.0;
      readings.add(load.margin, [&margin](double value) { margin = std::min(margin, value); });
      sums[6] += static_cast<double>(load.dropped);
      rows[layer * ranks + mesh_.rank()] += static_cast<double>(load.computed_rows);
      for (int64_t expert = 0; expert < experts; ++expert) {
        tokens[layer * experts + expert] += static_cast<double>(load.valid_copies[expert]);
      }
    }
  }
  readings.add_to(sums[0], losses.cross_entropy);
  readings.add_to(sums[1], losses.aux);
  readings.add_to(sums[2], losses.z);
  readings.add_to(sums[4], losses.objective);
  readings.add_to(sums[5], losses.device);
  readings.read();
  mesh_.control().all_reduce(view(std::span<double>(sums)), ReduceOp::kSum).wait();

  const double count = std::max(1.0, static_cast<double>(valid_tokens));
  const double count_in_layers = count * std::max(1.0, static_cast<double>(layers));
  std::for_each(entropy, entropy + layers, [&](double& sum) { sum /= count; });
  return {.tokens = valid_tokens,
          .loss = sums[0] / count,
          .objective = decoder_.has_own_loss() ? std::optional(sums[4] / count) : std::nullopt,
          .aux_loss = sums[1] / count_in_layers,
          .device_loss = sums[5] / count_in_layers,
          .z_loss = sums[2] / count_in_layers,
          .route_margin = *std::min_element(margins, margins + ranks),
          .load = {.first_layer = decoder_.options().first_k_dense_replace,
                   .num_experts = experts,
                   .tokens = {tokens, tokens + layers * experts},
                   .rows = {rows, rows + layers * ranks},
                   .entropy = {entropy, entropy + layers},
                   .dropped = static_cast<int64_t>(sums[6]),
                   .replicas = layers == 0 || states.empty()
                                   ? 0.0
                                   : sums[7] / static_cast<double>(layers * std::ssize(states)),
                   .plan_hash = plans.value(),
                   .plans = modes},
          .stop_wanted = sums[3] > 0};
}

}  // namespace enodia
