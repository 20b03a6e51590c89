#include "trainer/step/step_engine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "collectives/collectives.h"
#include "common/check.h"
#include "common/memory_ledger.h"
#include "optim/gradient_norm.h"
#include "parallel/gradient_reduction.h"

namespace enodia {
namespace {

at::Tensor to_tensor(std::span<const int64_t> values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.data_ptr<int64_t>());
  return tensor;
}

/// max / mean, averaged over rows of [rows, columns]; rows without tokens count as even.
double mean_imbalance(const std::vector<int64_t>& values, int64_t columns) {
  const auto rows = static_cast<int64_t>(values.size()) / columns;
  double sum = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const auto first = values.begin() + row * columns;
    const auto total = static_cast<double>(std::accumulate(first, first + columns, int64_t{0}));
    const auto largest = static_cast<double>(*std::max_element(first, first + columns));
    sum += total > 0 ? largest * static_cast<double>(columns) / total : 1.0;
  }
  return rows > 0 ? sum / static_cast<double>(rows) : 1.0;
}

}  // namespace

StepEngine::StepEngine(Decoder& decoder, const ProcessMesh& mesh, Trace* trace)
    : decoder_(decoder),
      mesh_(mesh),
      trace_(trace) {
  for (const auto& block : decoder.blocks()) {
    phases_of_block_.push_back(block->num_phases());
  }
}

StepLosses StepEngine::accumulate_gradients(int64_t step,
                                            std::span<const MicroBatch> micro_batches) {
  const at::NoGradGuard no_grad;
  int64_t valid_tokens = 0;
  for (const MicroBatch& micro_batch : micro_batches) {
    valid_tokens += micro_batch.num_valid;
  }
  agree_on_step(valid_tokens);

  std::vector<BlockState> states;
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    states.push_back(make_state(micro_batches[i],
                                {.step = step,
                                 .micro_batch = static_cast<int64_t>(i),
                                 .valid_tokens_of_step = std::max<int64_t>(valid_tokens, 1),
                                 .training = true}));
  }
  decoder_.registry().zero_gradients();
  run(accumulation_schedule(phases_of_block_, static_cast<int>(states.size())), states);
  {
    const ScopedSpan span(trace_, TraceTrack::kCompute, [] { return "reduce gradients"; });
    reduce_gradients(mesh_, decoder_.registry(), decoder_.experts());
  }
  return reduce_losses(states, valid_tokens);
}

UpdateResult StepEngine::apply_update(AdamW& optimizer, double lr) {
  const at::NoGradGuard no_grad;
  UpdateResult result;
  result.grad_norm = gradient_norm(mesh_.control(), decoder_.registry());
  result.applied = std::isfinite(result.grad_norm);
  if (result.applied) {
    optimizer.step(lr, optimizer.clip_scale(result.grad_norm));
    decoder_.commit_step();
  }
  return result;
}

StepEngine::Evaluation StepEngine::evaluate(const MicroBatch& micro_batch) {
  const at::NoGradGuard no_grad;
  std::vector<BlockState> states;
  states.push_back(make_state(micro_batch, {.training = false}));
  run(forward_schedule(phases_of_block_), states);
  return {all_reduce_value(mesh_.control(), states[0].losses.cross_entropy, ReduceOp::kSum),
          all_reduce_value(mesh_.control(), micro_batch.num_valid, ReduceOp::kSum)};
}

at::Tensor StepEngine::logits(const MicroBatch& micro_batch, std::span<const int64_t> wanted_rows) {
  const at::NoGradGuard no_grad;
  std::vector<BlockState> states;
  states.push_back(make_state(micro_batch, {.training = false}));
  states[0].labels = at::Tensor();
  states[0].wanted_rows = to_tensor(wanted_rows);
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
  state.tokens = to_tensor(micro_batch.tokens);
  state.labels = to_tensor(micro_batch.labels);
  state.num_valid = micro_batch.num_valid;
  state.layout = micro_batch.layout;
  return state;
}

std::string StepEngine::name_of(const PhaseCall& call) const {
  const int layer = decoder_.layer_of(call.block);
  std::string place = layer >= 0 ? "layer " + std::to_string(layer) + " " : "";
  return place.append(decoder_.blocks()[call.block]->phase_name(call.phase)) +
         (call.direction == Direction::kForward ? " forward" : " backward");
}

void StepEngine::run(const StepSchedule& schedule, std::vector<BlockState>& states) {
  for (const PhaseCall& call : schedule) {
    Block& block = *decoder_.blocks()[call.block];
    BlockState& state = states[call.micro_batch];
    const ScopedSpan span(
        trace_, TraceTrack::kCompute, [&] { return name_of(call); }, call.micro_batch);
    if (call.direction == Direction::kForward) {
      block.forward(state, call.phase);
    } else {
      ENODIA_CHECK_EQ(state.context.generation,
                      decoder_.generation(),
                      "the weights changed between forward and backward");
      block.backward(state, call.phase);
    }
  }
}

/// Sums the valid tokens over the ranks. The hash of the first MoE layer's plan rides along: ranks
/// that disagree on it find out here, before any exchange could hang.
void StepEngine::agree_on_step(int64_t& valid_tokens) {
  const uint64_t hash = decoder_.experts() != nullptr ? decoder_.experts()->placement(0).hash() : 0;
  std::array<int64_t, 2> extremes{static_cast<int64_t>(hash), ~static_cast<int64_t>(hash)};
  mesh_.control().all_reduce(view(std::span<int64_t>(extremes)), ReduceOp::kMax).wait();
  if (extremes[0] != ~extremes[1]) {  // the largest hash is not the smallest
    throw CommError(
        "the ranks disagree on the plan of the first MoE layer; their configurations, seeds or "
        "binaries differ");
  }
  valid_tokens = all_reduce_value(mesh_.control(), valid_tokens, ReduceOp::kSum);
}

StepLosses StepEngine::reduce_losses(const std::vector<BlockState>& states, int64_t valid_tokens) {
  std::array<double, 3> sums{};
  for (const BlockState& state : states) {
    sums[0] += state.losses.cross_entropy;
    sums[1] += state.losses.aux;
    sums[2] += state.losses.z;
  }
  mesh_.control().all_reduce(view(std::span<double>(sums)), ReduceOp::kSum).wait();
  const double tokens = std::max(1.0, static_cast<double>(valid_tokens));
  const double layers =
      decoder_.experts() != nullptr ? static_cast<double>(decoder_.experts()->num_layers()) : 1.0;
  return {.tokens = valid_tokens,
          .loss = sums[0] / tokens,
          .aux_loss = sums[1] / (tokens * layers),
          .z_loss = sums[2] / (tokens * layers),
          .imbalance = measure_imbalance(states)};
}

Imbalance StepEngine::measure_imbalance(const std::vector<BlockState>& states) {
  if (decoder_.experts() == nullptr) {
    return {};
  }
  const int64_t layers = decoder_.experts()->num_layers();
  const int64_t experts = decoder_.options().num_experts;
  const int64_t ranks = mesh_.world_size();
  std::vector<int64_t> loads(layers * (experts + ranks), 0);  // experts' loads, then ranks' rows
  for (const BlockState& state : states) {
    for (int64_t layer = 0; layer < layers; ++layer) {
      const MoeLoad& load = state.moe_loads.at(layer);
      for (int64_t expert = 0; expert < experts; ++expert) {
        loads[layer * experts + expert] += load.valid_copies[expert];
      }
      loads[layers * experts + layer * ranks + mesh_.rank()] += load.computed_rows;
    }
  }
  mesh_.control().all_reduce(view(std::span<int64_t>(loads)), ReduceOp::kSum).wait();
  const auto middle = loads.begin() + layers * experts;
  return {mean_imbalance({loads.begin(), middle}, experts),
          mean_imbalance({middle, loads.end()}, ranks)};
}

}  // namespace enodia
