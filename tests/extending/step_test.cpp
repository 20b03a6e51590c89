#include <cmath>
#include <map>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include "collectives/loopback/loopback.h"
#include "common/error.h"
#include "tests/extending/part_testing.h"
#include "trainer/step/step_engine.h"

#include "docs/extending/my_parts.h"

namespace enodia {
namespace {

ModelOptions tiny_model() {
  ModelOptions options;
  options.vocab_size = 11;
  options.hidden_size = 8;
  options.num_hidden_layers = 2;
  options.num_attention_heads = options.num_key_value_heads = 2;
  options.head_dim = 4;
  options.moe_intermediate_size = 6;
  options.num_experts = 6;
  options.initializer_range = 0.3;
  options.dtype = DType::kFloat64;  // so that layouts agree to rounding
  options.attention = "sliding_window";
  options.router = "cosine";
  options.settings = {{"window", 3}, {"smoothing", 0.1}};
  return options;
}

/// A linear router, with the built-in one's parameter, by way of autograd.
std::unique_ptr<Router> make_plain(const ModelOptions& options,
                                   const std::string& name,
                                   ParameterRegistry& registry) {
  const auto module = std::make_shared<torch::nn::Module>();
  const at::Tensor weight =
      module->register_parameter("weight", at::empty({options.num_experts, options.hidden_size}));
  return std::make_unique<AutogradRouter>(
      module,
      [weight](const at::Tensor& normed) { return at::matmul(normed, weight.t()); },
      name,
      options.num_experts,
      registry);
}

ModelParts my_parts() {
  ModelParts parts;
  parts.attentions["sliding_window"] = make_sliding_window;
  parts.routers["cosine"] = make_cosine;
  parts.routers["plain"] = make_plain;
  return parts;
}

/// The step's only micro-batch, of 9 tokens in segments of 6 and 3; other ranks have none at all.
MicroBatch text() {
  MicroBatchBuilder builder;
  builder.add_segment(std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7}, 6);
  builder.add_segment(std::vector<int64_t>{10, 9, 8, 0}, 3);
  return builder.finish();
}

struct Step {
  StepLosses losses;
  double grad_norm = 0;
  std::map<std::string, at::Tensor> gradients;  ///< of rank 0's parameters
};

Step step_on(int world_size, const ModelOptions& options, const LossFunction& loss) {
  Step step;
  run_loopback(world_size, [&](Communicator& world) {
    const ProcessMesh mesh(world, {.dp = world_size, .ep = world_size});
    Decoder decoder(options, {}, mesh, my_parts(), loss);
    decoder.initialize(/*seed=*/1);
    StepEngine engine(decoder, mesh);
    const std::vector<MicroBatch> mine{world.rank() == world_size - 1 ? text() : MicroBatch()};
    const StepLosses losses = engine.accumulate_gradients(0, mine);
    AdamW optimizer({}, decoder.registry());
    std::map<std::string, at::Tensor> gradients;
    for (const LogicalParameter& parameter : decoder.registry().parameters()) {
      gradients[parameter.name] = parameter.column("grad").clone();
    }
    const double grad_norm = engine.apply_update(optimizer, 1e-3, losses.load).grad_norm;
    if (world.rank() == 0) {
      step = {losses, grad_norm, gradients};
    }
  });
  return step;
}

void expect_alike(const Step& step, const Step& expected) {
  EXPECT_NEAR(step.losses.loss, expected.losses.loss, 1e-12);
  EXPECT_NEAR(step.grad_norm, expected.grad_norm, 1e-12 * expected.grad_norm);
  for (const auto& [name, gradient] : step.gradients) {
    EXPECT_TRUE(gradient.allclose(expected.gradients.at(name), 1e-10, 1e-13)) << name;
  }
}

TEST(PartsOfOnesOwn, TrainAlikeInEveryLayout) {
  const ModelOptions options = tiny_model();
  const LossFunction loss = make_label_smoothing(options);
  const Step alone = step_on(1, options, loss);
  ASSERT_TRUE(alone.losses.objective);
  EXPECT_GT(std::abs(*alone.losses.objective - alone.losses.loss), 1e-3);
  for (const int world_size : {2, 3}) {
    const Step shared = step_on(world_size, options, loss);
    expect_alike(shared, alone);
    EXPECT_NEAR(*shared.losses.objective, *alone.losses.objective, 1e-12);
    EXPECT_TRUE(shared.gradients.contains("model.layers.1.self_attn.qkv"));
    EXPECT_TRUE(shared.gradients.contains("model.layers.1.mlp.gate.temperature"));
  }
}

TEST(PartsOfOnesOwn, ThatComputeWhatBuiltInOnesDoTrainAlike) {
  ModelOptions options = tiny_model();
  options.router = "linear";
  const Step built_in = step_on(1, options, {});
  EXPECT_FALSE(built_in.losses.objective);
  options.router = "plain";
  options.settings["smoothing"] = 0;  // leaves cross-entropy
  const Step own = step_on(1, options, make_label_smoothing(options));
  expect_alike(own, built_in);
  EXPECT_NEAR(*own.losses.objective, built_in.losses.loss, 1e-12);
}

TEST(PartsOfOnesOwn, MustBeKnown) {
  ModelOptions options = tiny_model();
  options.attention = "another";
  EXPECT_THROW(step_on(1, options, {}), UsageError);
}

}  // namespace
}  // namespace enodia
