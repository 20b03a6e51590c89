#include "tests/references/reference_optimizer.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

namespace enodia {
namespace {

bool ends_with(const std::string& name, const std::string& suffix) {
  return name.size() >= suffix.size() &&
         name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

at::Tensor moment_of(const NamedTensors* moments, const std::string& name, const at::Tensor& like) {
  return moments == nullptr ? at::zeros_like(like) : moments->at(name);
}

// Each expert's bias a step up when it had fewer tokens than the mean, down when it had more.
at::Tensor moved_bias(const ReferenceOptions& options,
                      const std::string& name,
                      const at::Tensor& bias,
                      const ReferenceStep& step) {
  const int64_t layer = std::stoll(name.substr(std::string("model.layers.").size()));
  const auto counts =
      step.load.begin() + (layer - options.first_k_dense_replace) * options.num_experts;
  double mean = 0.0;
  for (int64_t e = 0; e < options.num_experts; ++e) {
    mean += static_cast<double>(counts[e]) / static_cast<double>(options.num_experts);
  }
  at::Tensor moved = bias.detach().clone();
  for (int64_t e = 0; e < options.num_experts; ++e) {
    const double lacking = mean - static_cast<double>(counts[e]);
    if (std::abs(lacking) > 1e-6) {
      moved[e] += lacking > 0 ? options.expert_bias_update_rate : -options.expert_bias_update_rate;
    }
  }
  return moved;
}

}  // namespace

bool reference_decays(const std::string& name) {
  const bool norm = ends_with(name, "norm.weight");
  const bool bias = ends_with(name, ".bias");
  const bool router =
      ends_with(name, ".mlp.gate.weight") || ends_with(name, ".mlp.shared_expert_gate.weight");
  return !norm && !bias && !router;
}

double reference_norm(const NamedTensors& tensors) {
  double sum = 0.0;
  for (const auto& [name, tensor] : tensors) {
    sum += tensor.square().sum().item<double>();
  }
  return std::sqrt(sum);
}

void reference_update(const ReferenceOptions& options,
                      const NamedTensors& parameters,
                      int64_t optimizer_step,
                      const NamedTensors* exp_avg,
                      const NamedTensors* exp_avg_sq,
                      ReferenceStep& step) {
  const bool skipped = !std::isfinite(step.grad_norm);
  const double clip =
      options.clip_norm > 0.0 ? std::min(1.0, options.clip_norm / (step.grad_norm + 1e-6)) : 1.0;
  const double count = static_cast<double>(optimizer_step);
  const double correction1 = 1.0 - std::pow(options.beta1, count);
  const double correction2 = 1.0 - std::pow(options.beta2, count);
  for (const auto& [name, parameter] : parameters) {
    if (ends_with(name, "e_score_correction_bias")) {
      step.updated[name] = skipped ? parameter.clone() : moved_bias(options, name, parameter, step);
      step.exp_avg[name] = step.exp_avg_sq[name] = at::zeros_like(parameter);
      continue;
    }
    at::Tensor p = parameter.detach().clone();
    at::Tensor m = moment_of(exp_avg, name, p).clone();
    at::Tensor v = moment_of(exp_avg_sq, name, p).clone();
    if (!skipped) {
      const at::Tensor g = step.gradients.at(name) * clip;
      if (reference_decays(name)) {
        p = p * (1.0 - options.lr * options.weight_decay);
      }
      m = options.beta1 * m + (1.0 - options.beta1) * g;
      v = options.beta2 * v + (1.0 - options.beta2) * g * g;
      const at::Tensor denominator = v.sqrt() / std::sqrt(correction2) + options.eps;
      p = p - (options.lr / correction1) * m / denominator;
    }
    step.updated[name] = p;
    step.exp_avg[name] = m;
    step.exp_avg_sq[name] = v;
  }
}

}  // namespace enodia
