#include "optim/adamw.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "common/vector_clones.h"

namespace enodia {
namespace {

template <typename T>
struct Coefficients {
  T decay, beta1, beta2, one_minus_beta1, one_minus_beta2;
  T step_size, inverse_root_correction2, eps, gradient_scale;
};

template <typename T>
[[gnu::always_inline]] inline void update(T* value,
                                          const T* gradient,
                                          T* exp_avg,
                                          T* exp_avg_sq,
                                          int64_t count,
                                          const Coefficients<T>& c) {
  for (int64_t i = 0; i < count; ++i) {
    const T g = gradient[i] * c.gradient_scale;
    exp_avg[i] = c.beta1 * exp_avg[i] + c.one_minus_beta1 * g;
    exp_avg_sq[i] = c.beta2 * exp_avg_sq[i] + c.one_minus_beta2 * g * g;
    const T denominator = std::sqrt(exp_avg_sq[i]) * c.inverse_root_correction2 + c.eps;
    value[i] = value[i] * c.decay - c.step_size * exp_avg[i] / denominator;
  }
}

ENODIA_CLONES void update_float(float* value,
                                const float* gradient,
                                float* exp_avg,
                                float* exp_avg_sq,
                                int64_t count,
                                const Coefficients<float>& c) {
  update(value, gradient, exp_avg, exp_avg_sq, count, c);
}

ENODIA_CLONES void update_double(double* value,
                                 const double* gradient,
                                 double* exp_avg,
                                 double* exp_avg_sq,
                                 int64_t count,
                                 const Coefficients<double>& c) {
  update(value, gradient, exp_avg, exp_avg_sq, count, c);
}

/// The same with LibTorch's kernels, for tensors of a device.
void update_tensors(at::Tensor value,
                    const at::Tensor& gradient,
                    at::Tensor exp_avg,
                    at::Tensor exp_avg_sq,
                    const Coefficients<double>& c) {
  const at::Tensor g = gradient.mul(c.gradient_scale);
  exp_avg.mul_(c.beta1).add_(g, c.one_minus_beta1);
  exp_avg_sq.mul_(c.beta2).addcmul_(g, g, c.one_minus_beta2);
  const at::Tensor denominator = exp_avg_sq.sqrt().mul_(c.inverse_root_correction2).add_(c.eps);
  value.mul_(c.decay).addcdiv_(exp_avg, denominator, -c.step_size);
}

template <typename T>
Coefficients<T> coefficients(
    const OptimOptions& options, int64_t steps, double lr, bool decays, double gradient_scale) {
  const auto power = static_cast<double>(steps);
  const double correction1 = 1.0 - std::pow(options.betas[0], power);
  const double correction2 = 1.0 - std::pow(options.betas[1], power);
  Coefficients<T> c;
  c.decay = static_cast<T>(decays ? 1.0 - lr * options.weight_decay : 1.0);
  c.beta1 = static_cast<T>(options.betas[0]);
  c.beta2 = static_cast<T>(options.betas[1]);
  c.one_minus_beta1 = static_cast<T>(1.0 - options.betas[0]);
  c.one_minus_beta2 = static_cast<T>(1.0 - options.betas[1]);
  c.step_size = static_cast<T>(lr / correction1);
  c.inverse_root_correction2 = static_cast<T>(1.0 / std::sqrt(correction2));
  c.eps = static_cast<T>(options.eps);
  c.gradient_scale = static_cast<T>(gradient_scale);
  return c;
}

}  // namespace

AdamW::AdamW(const OptimOptions& options, ParameterRegistry& registry)
    : options_(options),
      registry_(registry) {
  registry.add_column("exp_avg");
  registry.add_column("exp_avg_sq");
}

void AdamW::step(double lr, double gradient_scale) {
  ++steps_;
  for (const LogicalParameter& parameter : registry_.parameters()) {
    if (!parameter.trained) {
      continue;
    }
    const auto updated = [&](std::string_view column) {
      return parameter.rows(column, parameter.updated_rows);
    };
    at::Tensor value = updated("master");
    const at::Tensor gradient = updated("grad");
    at::Tensor exp_avg = updated("exp_avg");
    at::Tensor exp_avg_sq = updated("exp_avg_sq");
    if (!value.is_cpu()) {
      update_tensors(value,
                     gradient,
                     exp_avg,
                     exp_avg_sq,
                     coefficients<double>(options_, steps_, lr, parameter.decays, gradient_scale));
    } else if (value.scalar_type() == at::kDouble) {
      update_double(value.data_ptr<double>(),
                    gradient.const_data_ptr<double>(),
                    exp_avg.data_ptr<double>(),
                    exp_avg_sq.data_ptr<double>(),
                    value.numel(),
                    coefficients<double>(options_, steps_, lr, parameter.decays, gradient_scale));
    } else {
      update_float(value.data_ptr<float>(),
                   gradient.const_data_ptr<float>(),
                   exp_avg.data_ptr<float>(),
                   exp_avg_sq.data_ptr<float>(),
                   value.numel(),
                   coefficients<float>(options_, steps_, lr, parameter.decays, gradient_scale));
    }
  }
}

double AdamW::clip_scale(double norm) const {
  if (options_.clip_norm <= 0.0) {
    return 1.0;
  }
  return std::min(1.0, options_.clip_norm / (norm + 1e-6));  // 1e-6 as in torch's clip_grad_norm_
}

}  // namespace enodia
