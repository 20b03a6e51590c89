#include "optim/adamw.h"

#include <cmath>
#include <limits>
#include <optional>
#include <random>

#include <gtest/gtest.h>
#include <torch/optim/adamw.h>

#include "collectives/loopback/loopback.h"
#include "optim/gradient_norm.h"
#include "parallel/expert_store.h"
#include "parallel/mesh.h"

namespace enodia {
namespace {

const OptimOptions kOptions{
    .betas = {0.9, 0.95}, .eps = 1e-8, .weight_decay = 0.1, .clip_norm = 2.0};

/// Magnitudes from 1e-9 to 1, so that eps counts for some elements and not for others.
void draw(at::Tensor tensor, std::mt19937& random) {
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> exponent(-9.0, 0.0);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    tensor.view({-1})[i].fill_(normal(random) * std::pow(10.0, exponent(random)));
  }
}

/// Our optimizer and torch's on equal parameters: one that decays and one that does not.
class AdamWAgainstTorch : public testing::TestWithParam<at::ScalarType> {
 protected:
  AdamWAgainstTorch()
      : registry_(0, 1, GetParam()),
        matrix_(registry_.add_dense({{"matrix", 9}}, 7)),
        norm_(registry_.add_dense({{"norm", 13}}, 0, {.decays = false})) {
    registry_.allocate();
    registry_.initialize(1, 0.5);
    adamw_.emplace(kOptions, registry_);
    theirs_ = {matrix_.value.clone().requires_grad_(true),
               norm_.value.clone().requires_grad_(true)};
    std::vector<torch::optim::OptimizerParamGroup> groups;
    groups.emplace_back(std::vector<at::Tensor>{theirs_[0]}, options(kOptions.weight_decay));
    groups.emplace_back(std::vector<at::Tensor>{theirs_[1]}, options(0.0));
    torch_ = std::make_unique<torch::optim::AdamW>(std::move(groups));
  }

  static std::unique_ptr<torch::optim::AdamWOptions> options(double weight_decay) {
    auto options = std::make_unique<torch::optim::AdamWOptions>();
    options->betas({kOptions.betas[0], kOptions.betas[1]});
    options->eps(kOptions.eps).weight_decay(weight_decay);
    return options;
  }

  void step(double lr, double gradient_scale) {
    draw(matrix_.grad, random_);
    draw(norm_.grad, random_);
    theirs_[0].mutable_grad() = matrix_.grad * gradient_scale;
    theirs_[1].mutable_grad() = norm_.grad * gradient_scale;
    for (auto& group : torch_->param_groups()) {
      group.options().set_lr(lr);
    }
    adamw_->step(lr, gradient_scale);
    torch_->step();
  }

  double worst_error() const {
    const auto error = [](const at::Tensor& ours, const at::Tensor& theirs) {
      return ((ours - theirs).norm() / theirs.norm()).item<double>();
    };
    return std::max(error(matrix_.value, theirs_[0].detach()),
                    error(norm_.value, theirs_[1].detach()));
  }
  double bound() const { return GetParam() == at::kDouble ? 1e-12 : 1e-6; }

  std::mt19937 random_{7};
  ParameterRegistry registry_;
  const DenseParameter &matrix_, &norm_;
  std::optional<AdamW> adamw_;
  std::vector<at::Tensor> theirs_;
  std::unique_ptr<torch::optim::AdamW> torch_;
};

TEST_P(AdamWAgainstTorch, AgreesOverManySteps) {
  for (int i = 1; i <= 8; ++i) {
    step(0.02 / i, 1.0);
    EXPECT_LE(worst_error(), bound()) << "after step " << i;
  }
  EXPECT_EQ(adamw_->steps(), 8);
}

TEST_P(AdamWAgainstTorch, ScalesGradients) {
  for (int i = 0; i < 3; ++i) {
    step(0.01, 0.25);
  }
  EXPECT_LE(worst_error(), bound());
}

TEST_P(AdamWAgainstTorch, DecaysOnlyWhatDecays) {
  const at::Tensor before = registry_.find("matrix").column("master").clone();
  const at::Tensor norm_before = norm_.value.clone();
  adamw_->step(0.5, 1.0);  // all gradients are zero
  EXPECT_LE((matrix_.value - before * 0.95).abs().max().item<double>(), bound());
  EXPECT_EQ((norm_.value - norm_before).abs().max().item<double>(), 0.0);
}

TEST_P(AdamWAgainstTorch, GoesOnFromMomentsAndSteps) {
  step(0.02, 1.0);
  step(0.02, 1.0);
  ParameterRegistry copied(0, 1, GetParam());
  copied.add_dense({{"matrix", 9}}, 7);
  copied.add_dense({{"norm", 13}}, 0, {.decays = false});
  copied.allocate();
  AdamW resumed(kOptions, copied);
  resumed.set_steps(adamw_->steps());
  for (const LogicalParameter& parameter : registry_.parameters()) {
    for (const char* column : {"master", "exp_avg", "exp_avg_sq"}) {
      copied.find(parameter.name).column(column).copy_(parameter.column(column));
    }
  }
  step(0.01, 1.0);
  for (const LogicalParameter& parameter : registry_.parameters()) {
    copied.find(parameter.name).column("grad").copy_(parameter.column("grad"));
  }
  resumed.step(0.01, 1.0);
  for (const LogicalParameter& parameter : registry_.parameters()) {
    EXPECT_TRUE(parameter.column("master").equal(copied.find(parameter.name).column("master")));
  }
}

INSTANTIATE_TEST_SUITE_P(WideTypes,
                         AdamWAgainstTorch,
                         testing::Values(at::kFloat, at::kDouble),
                         [](const auto& test) {
                           return test.param == at::kDouble ? "Float64" : "Float32";
                         });

TEST(AdamW, ClipsToTheNorm) {
  ParameterRegistry registry(0, 1, at::kFloat);
  registry.allocate();
  const AdamW adamw(kOptions, registry);
  EXPECT_EQ(adamw.clip_scale(0.0), 1.0);
  EXPECT_EQ(adamw.clip_scale(1.9), 1.0);
  EXPECT_DOUBLE_EQ(adamw.clip_scale(8.0), 2.0 / (8.0 + 1e-6));
}

TEST(AdamW, DoesNotClipWithoutALimit) {
  ParameterRegistry registry(0, 1, at::kFloat);
  registry.allocate();
  OptimOptions options = kOptions;
  options.clip_norm = 0.0;
  EXPECT_EQ(AdamW(options, registry).clip_scale(1e9), 1.0);
}

/// Two dense parameters and two layers of three experts.
struct Model {
  Model(Communicator& world, int ep, at::ScalarType type)
      : mesh(world, {.dp = world.world_size(), .ep = ep}),
        registry(world.rank(), world.world_size(), type),
        store((registry.add_dense({{"q", 4}, {"k", 2}}, 5), mesh),
              registry,
              {"layers.0", "layers.1"},
              static_placement(2, 3, ep, world.world_size()),
              {.hidden_size = 3, .intermediate_size = 2}) {
    registry.allocate();
    for (const LogicalParameter& parameter : registry.parameters()) {
      at::Tensor grad = parameter.column("grad");
      for (int64_t i = 0; i < grad.numel(); ++i) {
        grad.view({-1})[i].fill_(gradient(parameter.name, i));
      }
    }
  }
  /// The same on every rank that has the parameter.
  static double gradient(const std::string& name, int64_t element) {
    return static_cast<double>(name.size() + name.back() % 7 + name[7 % name.size()] % 5 +
                               element) /
           16.0;
  }
  ProcessMesh mesh;
  ParameterRegistry registry;
  ExpertStore store;
};

double obvious_norm() {
  double sum = 0.0;
  const auto add = [&](const std::string& name, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      sum += std::pow(Model::gradient(name, i), 2);
    }
  };
  add("q", 20);
  add("k", 10);
  for (const char* layer : {"layers.0.", "layers.1."}) {
    for (const char* expert : {"0", "1", "2"}) {
      for (const char* matrix : {".gate", ".up", ".down"}) {
        add(layer + std::string(expert) + matrix + "_proj.weight", 6);
      }
    }
  }
  return std::sqrt(sum);
}

TEST(GradientNorm, CountsEveryParameterOnceInEveryLayout) {
  const double expected = obvious_norm();
  for (const auto& [world, ep] :
       std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {2, 2}, {3, 3}, {4, 2}, {4, 4}}) {
    for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
      std::vector<double> norms(world);
      run_loopback(world, [&, ep = ep](Communicator& communicator) {
        const Model model(communicator, ep, type);
        norms[communicator.rank()] = gradient_norm(communicator, model.registry);
      });
      EXPECT_NEAR(norms[0], expected, 1e-12 * expected) << "w" << world << " ep" << ep;
      EXPECT_EQ(norms, std::vector<double>(world, norms[0])) << "the same bits on every rank";
    }
  }
}

TEST(GradientNorm, IsNotFiniteAnywhereWhenItIsNotFiniteOnOneRank) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    std::vector<double> norms(4);
    run_loopback(4, [&](Communicator& communicator) {
      const Model model(communicator, 2, at::kFloat);
      if (communicator.rank() == model.store.owners(1)[2]) {
        model.registry.find("layers.1.2.down_proj.weight").column("grad")[1][1].fill_(bad);
      }
      norms[communicator.rank()] = gradient_norm(communicator, model.registry);
    });
    for (const double norm : norms) {
      EXPECT_EQ(std::isnan(norm), std::isnan(bad));
      EXPECT_FALSE(std::isfinite(norm));
    }
  }
}

}  // namespace
}  // namespace enodia
