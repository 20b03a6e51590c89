#include "models/autograd_block.h"

#include <cmath>
#include <functional>
#include <string>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include "common/error.h"
#include "models/attention_block.h"

namespace enodia {
namespace {

SequenceLayout layout_of(std::vector<int64_t> lengths) {
  return SequenceLayout::from_lengths(lengths);
}

/// |a - b| / |b| in the Euclidean norm.
double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b).norm() / b.norm()).item<double>();
}

class Random {
 public:
  at::Tensor draw(at::IntArrayRef shape) { return at::randn(shape, generator_, at::kDouble); }

 private:
  at::Generator generator_ = at::detail::createCPUGenerator(23);
};

/// y = x + silu(x W^T + b), and a parameter that takes no part. Made in float32, as LibTorch does
/// it; the registry decides that it computes in float64.
struct SiluResidual : torch::nn::Module {
  SiluResidual()
      : weight(register_parameter("linear_weight", at::ones({4, 4}, at::kFloat))),
        bias(register_parameter("linear_bias", at::ones({4}, at::kFloat))),
        unused(register_parameter("unused", at::ones({3, 2}, at::kFloat))) {}
  at::Tensor forward(const at::Tensor& x) {
    ++runs;
    return x + at::silu(at::matmul(x, weight.t()) + bias);
  }
  at::Tensor weight, bias, unused;
  int runs = 0;
};

/// The module above as a block, its parameters in a registry of random values.
class AutogradBlockTest : public testing::Test {
 protected:
  AutogradBlockTest()
      : block_(
            module_,
            [module = module_](const at::Tensor& x, const SequenceLayout&) {
              return module->forward(x);
            },
            "user",
            2,
            registry_,
            [](const std::string& name) { return name == "linear_weight"; }) {
    registry_.allocate();
    for (const LogicalParameter& parameter : registry_.parameters()) {
      parameter.column("master").copy_(random_.draw(parameter.shape));
    }
  }

  at::Tensor master(const std::string& name) {
    return registry_.find("user." + name).column("master");
  }
  at::Tensor grad(const std::string& name) { return registry_.find("user." + name).column("grad"); }

  /// What plain autograd says of one micro-batch.
  struct Expected {
    at::Tensor y, grad_x, grad_weight, grad_bias;
  };
  Expected expected(const at::Tensor& x, const at::Tensor& grad_y) {
    const at::AutoGradMode grad_mode(true);
    const auto leaf = [](const at::Tensor& t) {
      return t.detach().clone().set_requires_grad(true);
    };
    const at::Tensor input = leaf(x), weight = leaf(master("linear_weight")),
                     bias = leaf(master("linear_bias"));
    const at::Tensor z = (input.unsqueeze(1) * weight).sum(-1) + bias;
    const at::Tensor y = input + z / (1 + (-z).exp());
    y.backward(grad_y);
    return {y.detach(), input.grad(), weight.grad(), bias.grad()};
  }

  const at::AutoGradMode no_grad_{false};
  Random random_;
  ParameterRegistry registry_{0, 1, at::kDouble};
  std::shared_ptr<SiluResidual> module_ = std::make_shared<SiluResidual>();
  AutogradBlock block_;
};

TEST_F(AutogradBlockTest, AgreesWithPlainAutogradAndAccumulates) {
  BlockState state;
  const at::Tensor x = random_.draw({5, 4}), grad_y = random_.draw({5, 4});
  const Expected e = expected(x, grad_y);
  for (const double micro_batches : {1.0, 2.0}) {
    state.hidden = x;
    state.grad_hidden = grad_y;
    block_.forward(state, 0);
    EXPECT_LE(relative_error(state.hidden, e.y), 1e-14);
    EXPECT_FALSE(state.hidden.requires_grad());
    block_.backward(state, 0);
    EXPECT_LE(relative_error(state.grad_hidden, e.grad_x), 1e-14);
    EXPECT_FALSE(state.grad_hidden.requires_grad());
    EXPECT_LE(relative_error(grad("linear_weight"), e.grad_weight * micro_batches), 1e-14);
    EXPECT_LE(relative_error(grad("linear_bias"), e.grad_bias * micro_batches), 1e-14);
  }
}

TEST_F(AutogradBlockTest, ComputesWithTheRegistrysMemory) {
  BlockState state;
  state.context.training = false;
  const at::Tensor x = random_.draw({3, 4});
  for (int step = 0; step < 2; ++step) {
    state.hidden = x;
    block_.forward(state, 0);
    EXPECT_LE(relative_error(state.hidden, expected(x, x).y), 1e-14) << "step " << step;
    master("linear_weight").mul_(-0.5);  // as the optimizer would
  }
  EXPECT_EQ(module_->weight.const_data_ptr(), master("linear_weight").const_data_ptr());
}

TEST_F(AutogradBlockTest, GivesAnUnusedParameterNoGradient) {
  BlockState state;
  state.hidden = random_.draw({3, 4});
  state.grad_hidden = random_.draw({3, 4});
  block_.forward(state, 0);
  block_.backward(state, 0);
  EXPECT_EQ(grad("unused").abs().max().item<double>(), 0.0);
  EXPECT_GT(grad("linear_bias").abs().max().item<double>(), 0.0);
}

TEST_F(AutogradBlockTest, RunsNothingWithoutTokens) {
  BlockState state;
  state.hidden = at::zeros({0, 4}, at::kDouble);
  state.grad_hidden = at::zeros({0, 4}, at::kDouble);
  block_.forward(state, 0);
  block_.backward(state, 0);
  EXPECT_EQ(module_->runs, 0);
  EXPECT_EQ(state.hidden.size(0), 0);
  EXPECT_EQ(registry_.dense_tables()[0].columns->column("grad").abs().max().item<double>(), 0.0);
}

TEST_F(AutogradBlockTest, AdoptsNamesShapesAndDecay) {
  EXPECT_TRUE(registry_.find("user.linear_weight").decays);
  EXPECT_FALSE(registry_.find("user.linear_bias").decays);
  EXPECT_EQ(registry_.find("user.linear_weight").shape, (std::vector<int64_t>{4, 4}));
  EXPECT_EQ(registry_.find("user.unused").shape, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(registry_.parameters().size(), 3u);
}

TEST_F(AutogradBlockTest, StartsMatricesBiasesAndOtherVectorsApart) {
  registry_.initialize(/*seed=*/1, /*standard_deviation=*/0.5);
  EXPECT_GT(master("linear_weight").var().item<double>(), 0.01);
  EXPECT_EQ(master("linear_bias").abs().max().item<double>(), 0.0);
  ParameterRegistry registry(0, 1, at::kDouble);
  const auto scaled = std::make_shared<torch::nn::Module>();
  scaled->register_parameter("scale", at::zeros({3}));
  const AdoptedModule adopted(scaled, "user", registry, {});
  registry.allocate();
  registry.initialize(1, 0.5);
  EXPECT_EQ(registry.find("user.scale").column("master").min().item<double>(), 1.0);
  EXPECT_FALSE(registry.find("user.scale").decays) << "by default matrices decay";
}

TEST_F(AutogradBlockTest, RefusesWhatWouldBeLost) {
  const auto refused = [](const auto& add) {
    ParameterRegistry registry(0, 1, at::kDouble);
    const auto module = std::make_shared<torch::nn::Module>();
    add(*module);
    EXPECT_THROW(AdoptedModule(module, "user", registry, {}), UsageError);
  };
  refused([](auto& module) { module.register_buffer("mean", at::zeros({2})); });
  refused([](auto& module) { module.register_parameter("number", at::zeros({})); });
  refused([](auto& module) { module.register_parameter("frozen", at::zeros({2}), false); });
}

TEST_F(AutogradBlockTest, RefusesAnotherShape) {
  AutogradBlock narrow(
      std::make_shared<torch::nn::Module>(),
      [](const at::Tensor& x, const SequenceLayout&) { return x.narrow(1, 0, 2); },
      "narrow",
      3,
      registry_);
  BlockState state;
  state.hidden = random_.draw({3, 4});
  EXPECT_THROW(narrow.forward(state, 0), UsageError);
}

/// Attention as docs/numerics.md states it, one segment and one head at a time.
struct ObviousAttention : torch::nn::Module {
  explicit ObviousAttention(const ModelOptions& model) : options(model) {
    const int64_t d = options.head_dim, hidden = options.hidden_size;
    const int64_t queries = options.num_attention_heads * d, keys = options.num_key_value_heads * d;
    const auto add = [&](const char* name, at::IntArrayRef shape) {
      return register_parameter(name, at::ones(shape, at::kDouble));
    };
    norm = add("norm", {hidden});
    q = add("q", {queries, hidden});
    k = add("k", {keys, hidden});
    v = add("v", {keys, hidden});
    o = add("o", {hidden, queries});
    if (options.attention_bias) {
      q_bias = add("q_bias", {queries});
      k_bias = add("k_bias", {keys});
      v_bias = add("v_bias", {keys});
    }
    if (options.attention_output_bias) {
      o_bias = add("o_bias", {hidden});
    }
    if (options.use_qk_norm) {
      q_norm = add("q_norm", {d});
      k_norm = add("k_norm", {d});
    }
  }

  at::Tensor normalize(const at::Tensor& x, const at::Tensor& weight) const {
    return weight * x / (x.square().mean(-1, true) + options.rms_norm_eps).sqrt();
  }

  /// x is [S, d]; its rows are positions 0, 1, ...
  at::Tensor turn(const at::Tensor& x) const {
    const int64_t half = options.head_dim / 2;
    const at::Tensor power = at::arange(half, at::kDouble) * (-1.0 / static_cast<double>(half));
    const at::Tensor angle = at::arange(x.size(0), at::kDouble).unsqueeze(1) *
                             (power * std::log(options.rope_theta)).exp();
    const at::Tensor a = x.narrow(1, 0, half), b = x.narrow(1, half, half);
    return at::cat({a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()}, 1);
  }

  /// Head `index` of a projection of a segment's normed x [S, D].
  at::Tensor head(const at::Tensor& x,
                  const at::Tensor& weight,
                  const at::Tensor& bias,
                  int64_t index) const {
    const int64_t d = options.head_dim;
    const at::Tensor y = at::matmul(x, weight.narrow(0, index * d, d).t());
    return bias.defined() ? y + bias.narrow(0, index * d, d) : y;
  }

  at::Tensor segment(const at::Tensor& x) const {
    const at::Tensor normed = normalize(x, norm);
    const auto prepared = [&](at::Tensor y, const at::Tensor& weight) {
      return turn(weight.defined() ? normalize(y, weight) : y);
    };
    std::vector<at::Tensor> heads;
    for (int64_t h = 0; h < options.num_attention_heads; ++h) {
      const int64_t g = h / (options.num_attention_heads / options.num_key_value_heads);
      const at::Tensor query = prepared(head(normed, q, q_bias, h), q_norm);
      const at::Tensor key = prepared(head(normed, k, k_bias, g), k_norm);
      const at::Tensor scores =
          at::matmul(query, key.t()) / std::sqrt(static_cast<double>(options.head_dim));
      const at::Tensor future = at::ones({x.size(0), x.size(0)}, at::kDouble).triu(1) > 0;
      heads.push_back(at::matmul(at::softmax(scores.masked_fill(future, -INFINITY), -1),
                                 head(normed, v, v_bias, g)));
    }
    const at::Tensor y = x + at::matmul(at::cat(heads, 1), o.t());
    return o_bias.defined() ? y + o_bias : y;
  }

  at::Tensor forward(const at::Tensor& x, const SequenceLayout& layout) const {
    std::vector<at::Tensor> segments;
    for (int64_t i = 0; i < layout.num_segments(); ++i) {
      const int64_t first = layout.cu_seqlens[i];
      segments.push_back(segment(x.narrow(0, first, layout.cu_seqlens[i + 1] - first)));
    }
    return at::cat(segments, 0);
  }

  ModelOptions options;
  at::Tensor norm, q, k, v, o, q_bias, k_bias, v_bias, o_bias, q_norm, k_norm;
};

/// The obvious module's names and the block's.
std::vector<std::pair<std::string, std::string>> attention_names(const ModelOptions& options) {
  std::vector<std::pair<std::string, std::string>> names{{"norm", "input_layernorm.weight"},
                                                         {"q", "self_attn.q_proj.weight"},
                                                         {"k", "self_attn.k_proj.weight"},
                                                         {"v", "self_attn.v_proj.weight"},
                                                         {"o", "self_attn.o_proj.weight"}};
  if (options.attention_output_bias) {
    names.emplace_back("o_bias", "self_attn.o_proj.bias");
  }
  for (const char* name : {"q", "k", "v"}) {
    if (options.attention_bias) {
      names.emplace_back(name + std::string("_bias"),
                         "self_attn." + std::string(name) + "_proj.bias");
    }
    if (options.use_qk_norm && name[0] != 'v') {
      names.emplace_back(name + std::string("_norm"),
                         "self_attn." + std::string(name) + "_norm.weight");
    }
  }
  return names;
}

struct AttentionCase {
  const char* name;
  at::ScalarType type;
  int64_t heads, kv_heads;
  bool bias, qk_norm;
};

class Attention : public testing::TestWithParam<AttentionCase> {
 protected:
  static ModelOptions options() {
    ModelOptions options;
    options.hidden_size = 24;
    options.num_attention_heads = GetParam().heads;
    options.num_key_value_heads = GetParam().kv_heads;
    options.head_dim = 8;
    options.attention_bias = options.attention_output_bias = GetParam().bias;
    options.use_qk_norm = GetParam().qk_norm;
    return options;
  }
};

TEST_P(Attention, AgreesWithAnObviousModuleInAnAutogradBlock) {
  const at::AutoGradMode no_grad(false);
  const at::ScalarType type = GetParam().type;
  Random random;
  ParameterRegistry registry(0, 1, type), oracle_registry(0, 1, at::kDouble);
  AttentionBlock block(options(), "layer", 0, registry);
  const auto module = std::make_shared<ObviousAttention>(options());
  AutogradBlock oracle(
      module,
      [&](const at::Tensor& x, const SequenceLayout& layout) { return module->forward(x, layout); },
      "oracle",
      0,
      oracle_registry,
      [](const std::string&) { return true; });
  registry.allocate();
  oracle_registry.allocate();
  const auto names = attention_names(options());
  ASSERT_EQ(names.size(), registry.parameters().size());
  ASSERT_EQ(names.size(), oracle_registry.parameters().size());
  for (const auto& [theirs, ours] : names) {
    at::Tensor master = registry.find("layer." + ours).column("master");
    master.copy_(random.draw(master.sizes()) * 0.5 + (theirs.ends_with("norm") ? 1.0 : 0.0));
    oracle_registry.find("oracle." + theirs).column("master").copy_(master);
  }

  BlockState state, expected;
  state.layout = expected.layout = layout_of({7, 1, 11, 2});
  for (int micro_batch = 0; micro_batch < 2; ++micro_batch) {
    state.hidden = random.draw({21, 24}).to(type);
    state.grad_hidden = random.draw({21, 24}).to(type);
    expected.hidden = state.hidden.to(at::kDouble);
    expected.grad_hidden = state.grad_hidden.to(at::kDouble);
    block.forward(state, 0);
    oracle.forward(expected, 0);
    const double bound = type == at::kDouble ? 1e-12 : 1e-5;
    EXPECT_LE(relative_error(state.hidden, expected.hidden), bound);
    block.backward(state, 0);
    oracle.backward(expected, 0);
    EXPECT_LE(relative_error(state.grad_hidden, expected.grad_hidden), bound);
    for (const auto& [theirs, ours] : names) {
      EXPECT_LE(relative_error(registry.find("layer." + ours).column("grad"),
                               oracle_registry.find("oracle." + theirs).column("grad")),
                bound)
          << ours << " after micro-batch " << micro_batch;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes,
    Attention,
    testing::Values(AttentionCase{"Plain", at::kDouble, 2, 2, false, false},
                    AttentionCase{"Biased", at::kDouble, 2, 2, true, false},
                    AttentionCase{"Normed", at::kDouble, 3, 3, false, true},
                    AttentionCase{"Grouped", at::kDouble, 4, 2, true, true},
                    AttentionCase{"OneKey", at::kDouble, 4, 1, false, true},
                    AttentionCase{"PlainFloat", at::kFloat, 2, 2, false, false},
                    AttentionCase{"GroupedFloat", at::kFloat, 4, 2, true, true}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace enodia
