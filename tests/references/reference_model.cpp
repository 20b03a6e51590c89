#include "tests/references/reference_model.h"

#include <limits>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include "tests/references/reference_decoder.h"
#include "tests/references/reference_optimizer.h"

namespace enodia {
namespace {

using at::Tensor;
using detail::expert_prefix;
using detail::layer_prefix;
using detail::reference_attention_shapes;
using detail::ReferencePlace;
using detail::ReferenceTally;
using detail::require;
using TensorList = std::vector<Tensor>;

Tensor zero() {
  return at::zeros({}, at::kDouble);
}

int64_t count_moe_layers(const ReferenceOptions& options) {
  return options.num_experts > 0 ? options.num_hidden_layers - options.first_k_dense_replace : 0;
}

ReferencePlace place_of(int64_t index, const ReferenceMicroBatch& batch) {
  require(batch.labels.size() == batch.tokens.size(), "there must be one label a token");
  int64_t sum = 0;
  for (const int64_t length : batch.segment_lengths) {
    require(length > 0, "a segment must have tokens");
    sum += length;
  }
  require(sum == static_cast<int64_t>(batch.tokens.size()),
          "segment lengths must sum to the number of tokens");
  ReferencePlace place{index, {}};
  for (size_t t = 0; t < batch.labels.size(); ++t) {
    if (batch.labels[t] != -1) {
      place.valid.push_back(static_cast<int64_t>(t));
    }
  }
  return place;
}

void check_parameters(const ReferenceOptions& o, const NamedTensors& parameters) {
  const auto shapes = reference_parameter_shapes(o);
  for (const auto& [name, shape] : shapes) {
    const auto found = parameters.find(name);
    require(found != parameters.end(), "parameter " + name + " is missing");
    require(found->second.scalar_type() == at::kDouble, "parameter " + name + " is not float64");
    require(found->second.sizes() == at::IntArrayRef(shape),
            "parameter " + name + " has a wrong shape");
  }
  require(parameters.size() == shapes.size(), "there are parameters the model does not have");
}

NamedTensors leaves_of(const NamedTensors& parameters) {
  NamedTensors leaves;
  for (const auto& [name, tensor] : parameters) {
    leaves[name] = tensor.detach().clone().set_requires_grad(true);
  }
  return leaves;
}

ReferenceTally fresh_tally(const ReferenceOptions& options,
                           const ReferenceRoutes* replay,
                           size_t micro_batches) {
  ReferenceTally tally{options, replay, 0};
  tally.router_objective = zero();
  tally.step.smallest_margin = std::numeric_limits<double>::infinity();
  tally.step.routes.resize(micro_batches);
  tally.counts.resize(micro_batches);
  tally.step.load.resize(static_cast<size_t>(count_moe_layers(options) * options.num_experts), 0);
  tally.step.router_entropy.resize(static_cast<size_t>(count_moe_layers(options)), 0.0);
  return tally;
}

Tensor forward(const NamedTensors& leaves,
               const std::vector<ReferenceMicroBatch>& micro_batches,
               ReferenceTally& tally);

// What each micro-batch sends to the experts, which does not depend on the losses.
void count_loads(const NamedTensors& leaves,
                 const std::vector<ReferenceMicroBatch>& micro_batches,
                 ReferenceTally& tally) {
  const at::NoGradGuard no_gradients;
  ReferenceTally counting = fresh_tally(tally.options, tally.replay, micro_batches.size());
  counting.count_only = true;
  counting.step_number = tally.step_number;
  forward(leaves, micro_batches, counting);
  tally.counts = counting.counts;
}

// Runs all micro-batches and returns the sum of the valid tokens' cross-entropies.
Tensor forward(const NamedTensors& leaves,
               const std::vector<ReferenceMicroBatch>& micro_batches,
               ReferenceTally& tally) {
  std::vector<ReferencePlace> places;
  for (size_t m = 0; m < micro_batches.size(); ++m) {
    places.push_back(place_of(static_cast<int64_t>(m), micro_batches[m]));
    tally.valid_of_step += static_cast<int64_t>(places.back().valid.size());
  }
  for (ReferencePlace& place : places) {
    for (const ReferencePlace& other : places) {
      place.valid_of_micro_batches.push_back(static_cast<int64_t>(other.valid.size()));
    }
  }
  if (tally.options.aux_loss_scope == "global_batch" && !tally.count_only) {
    count_loads(leaves, micro_batches, tally);
  }
  Tensor cross_entropy_sum = zero();
  for (size_t m = 0; m < micro_batches.size(); ++m) {
    if (micro_batches[m].tokens.empty()) {
      const Tensor none = at::empty({0, tally.options.num_experts_per_tok}, at::kLong);
      tally.step.routes[m].resize(static_cast<size_t>(count_moe_layers(tally.options)), {none});
      continue;
    }
    const Tensor logits = detail::reference_decode(leaves, micro_batches[m], places[m], tally);
    std::vector<int64_t> labels;
    for (const int64_t t : places[m].valid) {
      labels.push_back(micro_batches[m].labels[t]);
      require(labels.back() >= 0 && labels.back() < tally.options.vocab_size,
              "a label is not in the vocabulary");
    }
    const Tensor of_valid =
        at::log_softmax(logits, 1).index_select(0, at::tensor(places[m].valid, at::kLong));
    cross_entropy_sum =
        cross_entropy_sum - of_valid.gather(1, at::tensor(labels, at::kLong).unsqueeze(1)).sum();
  }
  return cross_entropy_sum;
}

// Also notes the loss. A step without valid tokens has nothing to learn from.
Tensor objective_of(const Tensor& cross_entropy_sum, ReferenceTally& tally) {
  if (tally.valid_of_step == 0) {
    return zero();
  }
  const Tensor loss = cross_entropy_sum / static_cast<double>(tally.valid_of_step);
  tally.step.loss = loss.item<double>();
  return loss + tally.router_objective;
}

void differentiate(const NamedTensors& leaves, const Tensor& objective, ReferenceStep& step) {
  TensorList inputs;
  for (const auto& [name, leaf] : leaves) {
    inputs.push_back(leaf);
  }
  TensorList gradients(inputs.size());
  if (objective.requires_grad()) {
    gradients = torch::autograd::grad(
        {objective}, inputs, {}, std::nullopt, /*create_graph=*/false, /*allow_unused=*/true);
  }
  size_t next = 0;
  for (const auto& [name, leaf] : leaves) {
    const Tensor& gradient = gradients[next++];
    step.gradients[name] =
        gradient.defined() ? gradient.detach().clone() : at::zeros_like(leaf.detach());
  }
  step.grad_norm = reference_norm(step.gradients);
}

}  // namespace

std::map<std::string, std::vector<int64_t>> reference_parameter_shapes(
    const ReferenceOptions& options) {
  const ReferenceOptions& o = options;
  std::map<std::string, std::vector<int64_t>> shapes;
  const auto add_ffn = [&shapes, &o](const std::string& prefix, int64_t width) {
    shapes[prefix + "gate_proj.weight"] = {width, o.hidden_size};
    shapes[prefix + "up_proj.weight"] = {width, o.hidden_size};
    shapes[prefix + "down_proj.weight"] = {o.hidden_size, width};
  };
  shapes["model.embed_tokens.weight"] = {o.vocab_size, o.hidden_size};
  shapes["model.norm.weight"] = {o.hidden_size};
  if (!o.tie_word_embeddings) {
    shapes["lm_head.weight"] = {o.vocab_size, o.hidden_size};
  }
  for (int64_t layer = 0; layer < o.num_hidden_layers; ++layer) {
    const std::string prefix = layer_prefix(layer);
    const std::string attention_prefix = prefix + "self_attn.";
    shapes[prefix + "input_layernorm.weight"] = {o.hidden_size};
    shapes[prefix + "post_attention_layernorm.weight"] = {o.hidden_size};
    for (auto& [name, shape] : reference_attention_shapes(o)) {
      shapes[attention_prefix + name] = shape;
    }
    if (!o.is_moe_layer(layer)) {
      add_ffn(prefix + "mlp.", o.intermediate_size);
      continue;
    }
    shapes[prefix + "mlp.gate.weight"] = {o.num_experts, o.hidden_size};
    if (o.use_expert_bias) {
      shapes[prefix + "mlp.gate.e_score_correction_bias"] = {o.num_experts};
    }
    for (int64_t expert = 0; expert < o.num_experts; ++expert) {
      add_ffn(expert_prefix(layer, expert), o.moe_intermediate_size);
    }
    if (o.num_shared_experts > 0) {
      const bool has_width = o.shared_expert_intermediate_size > 0;
      add_ffn(prefix + "mlp.shared_experts.",
              has_width ? o.shared_expert_intermediate_size
                        : o.num_shared_experts * o.moe_intermediate_size);
    }
    if (o.shared_expert_gate) {
      shapes[prefix + "mlp.shared_expert_gate.weight"] = {1, o.hidden_size};
    }
  }
  return shapes;
}

ReferenceStep reference_step(const ReferenceOptions& options,
                             const NamedTensors& parameters,
                             const std::vector<ReferenceMicroBatch>& micro_batches,
                             int64_t optimizer_step,
                             const NamedTensors* exp_avg,
                             const NamedTensors* exp_avg_sq,
                             const ReferenceRoutes* replay) {
  check_parameters(options, parameters);
  const at::AutoGradMode with_gradients(true);
  const NamedTensors leaves = leaves_of(parameters);
  ReferenceTally tally = fresh_tally(options, replay, micro_batches.size());
  tally.step_number = optimizer_step - 1;
  const Tensor cross_entropy_sum = forward(leaves, micro_batches, tally);

  const Tensor objective = objective_of(cross_entropy_sum, tally);

  ReferenceStep step = std::move(tally.step);
  step.objective = objective.item<double>();
  differentiate(leaves, objective, step);
  const at::NoGradGuard without_gradients;
  reference_update(options, parameters, optimizer_step, exp_avg, exp_avg_sq, step);
  return step;
}

double reference_objective(const ReferenceOptions& options,
                           const NamedTensors& parameters,
                           const std::vector<ReferenceMicroBatch>& micro_batches) {
  check_parameters(options, parameters);
  const at::NoGradGuard without_gradients;
  ReferenceTally tally = fresh_tally(options, nullptr, micro_batches.size());
  return objective_of(forward(parameters, micro_batches, tally), tally).item<double>();
}

Tensor reference_logits(const ReferenceOptions& options,
                        const NamedTensors& parameters,
                        const ReferenceMicroBatch& micro_batch) {
  check_parameters(options, parameters);
  require(!micro_batch.tokens.empty(), "logits need at least one token");
  const at::NoGradGuard without_gradients;
  ReferenceTally tally = fresh_tally(options, nullptr, 1);
  const ReferencePlace place = place_of(0, micro_batch);
  tally.valid_of_step = static_cast<int64_t>(place.valid.size());
  return detail::reference_decode(parameters, micro_batch, place, tally);
}

}  // namespace enodia
