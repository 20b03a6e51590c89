#include <torch/nn/module.h>

#include "my_parts.h"

namespace {

constexpr double kTemperature = 0.3;  // at the start

/// The cosine between a projection of the token and a vector of the expert, divided by a learned
/// temperature: experts compete by direction, not by length (X-MoE, arXiv 2204.09179, section 3).
struct CosineRouter : torch::nn::Module {
  CosineRouter(int64_t num_experts, int64_t hidden_size)
      : projection(register_parameter("projection", at::empty({num_experts, hidden_size}))),
        experts(register_parameter("experts", at::empty({num_experts, num_experts}))),
        temperature(register_parameter("temperature", at::empty({1}))) {}  // a vector: starts at 1

  static at::Tensor unit(const at::Tensor& rows) {
    return rows / rows.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-6);
  }

  at::Tensor logits(const at::Tensor& normed_TD) const {
    const at::Tensor cosines_TE =
        at::matmul(unit(at::matmul(normed_TD, projection.t())), unit(experts).t());
    return cosines_TE / (kTemperature * temperature).clamp_min(0.01);
  }

  at::Tensor projection, experts, temperature;
};

}  // namespace

std::unique_ptr<enodia::Router> make_cosine(const enodia::ModelOptions& options,
                                            const std::string& name,
                                            enodia::ParameterRegistry& registry) {
  const auto module = std::make_shared<CosineRouter>(options.num_experts, options.hidden_size);
  return std::make_unique<enodia::AutogradRouter>(
      module,
      [module](const at::Tensor& normed_TD) { return module->logits(normed_TD); },
      name,
      options.num_experts,
      registry);
}
