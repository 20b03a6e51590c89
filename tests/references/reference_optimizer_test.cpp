#include "tests/references/reference_optimizer.h"

#include <cmath>
#include <limits>
#include <set>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/optim/adamw.h>

#include "tests/references/reference_problem.h"

namespace enodia {
namespace {

using at::Tensor;

ReferenceOptions small_options() {
  ReferenceOptions options;
  options.vocab_size = 5;
  options.hidden_size = 4;
  options.num_hidden_layers = 2;
  options.num_attention_heads = options.num_key_value_heads = 1;
  options.head_dim = 2;
  options.intermediate_size = 3;
  options.moe_intermediate_size = 2;
  options.num_experts = 2;
  options.num_experts_per_tok = 1;
  options.num_shared_experts = 1;
  options.first_k_dense_replace = 1;
  options.attention_bias = true;
  options.lr = 0.01;
  options.weight_decay = 0.3;
  return options;
}

TEST(ReferenceOptimizer, DecaysWhatTheTableSays) {
  std::set<std::string> kept;
  for (const auto& [name, shape] : reference_parameter_shapes(small_options())) {
    if (!reference_decays(name)) {
      kept.insert(name);
    }
  }
  std::set<std::string> expected = {"model.norm.weight", "model.layers.1.mlp.gate.weight"};
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    for (const std::string suffix : {"input_layernorm.weight",
                                     "post_attention_layernorm.weight",
                                     "self_attn.q_norm.weight",
                                     "self_attn.k_norm.weight",
                                     "self_attn.q_proj.bias",
                                     "self_attn.k_proj.bias",
                                     "self_attn.v_proj.bias"}) {
      expected.insert(layer + suffix);
    }
  }
  EXPECT_EQ(kept, expected);
}

// torch's optimizer over the same parameters, in one group that decays and one that does not.
class TorchAdamW {
 public:
  TorchAdamW(const ReferenceOptions& o, const NamedTensors& parameters) {
    std::vector<Tensor> decaying, kept;
    for (const auto& [name, tensor] : parameters) {
      leaves_[name] = tensor.clone().set_requires_grad(true);
      (reference_decays(name) ? decaying : kept).push_back(leaves_[name]);
    }
    const auto options = [&o](double decay) {
      return std::make_unique<torch::optim::AdamWOptions>(
          torch::optim::AdamWOptions(o.lr)
              .betas(std::make_tuple(o.beta1, o.beta2))
              .eps(o.eps)
              .weight_decay(decay));
    };
    std::vector<torch::optim::OptimizerParamGroup> groups;
    groups.emplace_back(decaying, options(o.weight_decay));
    groups.emplace_back(kept, options(0.0));
    optimizer_ = std::make_unique<torch::optim::AdamW>(std::move(groups));
  }

  const NamedTensors& step(const NamedTensors& gradients) {
    for (auto& [name, leaf] : leaves_) {
      leaf.mutable_grad() = gradients.at(name).clone();
    }
    optimizer_->step();
    return leaves_;
  }

 private:
  NamedTensors leaves_;
  std::unique_ptr<torch::optim::AdamW> optimizer_;
};

TEST(ReferenceOptimizer, IsTorchAdamWOverSeveralSteps) {
  const ReferenceOptions options = small_options();
  NamedTensors parameters = random_parameters(options, 1);
  TorchAdamW torch_adamw(options, parameters);
  NamedTensors exp_avg, exp_avg_sq;
  for (int64_t count = 1; count <= 6; ++count) {
    ReferenceStep step;
    step.gradients = random_parameters(options, 100 + static_cast<uint64_t>(count));
    step.grad_norm = reference_norm(step.gradients);
    reference_update(options,
                     parameters,
                     count,
                     count == 1 ? nullptr : &exp_avg,
                     count == 1 ? nullptr : &exp_avg_sq,
                     step);
    for (const auto& [name, expected] : torch_adamw.step(step.gradients)) {
      const double difference = (step.updated.at(name) - expected).abs().max().item<double>();
      EXPECT_LT(difference, 1e-13) << name << " after step " << count;
      EXPECT_GT((step.updated.at(name) - parameters.at(name)).abs().max().item<double>(), 1e-3);
    }
    parameters = step.updated;
    exp_avg = step.exp_avg;
    exp_avg_sq = step.exp_avg_sq;
  }
}

TEST(ReferenceOptimizer, ClipsToTheNorm) {
  ReferenceOptions options = small_options();
  const NamedTensors parameters = random_parameters(options, 2);
  ReferenceStep free, clipped;
  free.gradients = clipped.gradients = random_parameters(options, 3);
  free.grad_norm = clipped.grad_norm = reference_norm(free.gradients);
  ASSERT_GT(free.grad_norm, 1.0);
  reference_update(options, parameters, 1, nullptr, nullptr, free);
  options.clip_norm = 0.5;
  reference_update(options, parameters, 1, nullptr, nullptr, clipped);
  // After one step from zero exp_avg is (1 - beta1) times the clipped gradient.
  EXPECT_NEAR(reference_norm(clipped.exp_avg) / (1.0 - options.beta1), 0.5, 1e-6);
  EXPECT_NEAR(reference_norm(free.exp_avg) / (1.0 - options.beta1), free.grad_norm, 1e-10);
  options.clip_norm = 2.0 * free.grad_norm;
  reference_update(options, parameters, 1, nullptr, nullptr, clipped);
  EXPECT_NEAR(reference_norm(clipped.exp_avg), reference_norm(free.exp_avg), 1e-12);
}

TEST(ReferenceOptimizer, SkipsAStepThatIsNotFinite) {
  const ReferenceOptions options = small_options();
  const NamedTensors parameters = random_parameters(options, 4);
  ReferenceStep step;
  step.gradients = random_parameters(options, 5);
  step.gradients["model.norm.weight"][0] = std::numeric_limits<double>::infinity();
  step.grad_norm = reference_norm(step.gradients);
  reference_update(options, parameters, 1, nullptr, nullptr, step);
  for (const auto& [name, tensor] : parameters) {
    EXPECT_TRUE(step.updated.at(name).equal(tensor)) << name;
  }
  EXPECT_EQ(reference_norm(step.exp_avg), 0.0);
}

}  // namespace
}  // namespace enodia
