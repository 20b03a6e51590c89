#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "tests/extending/part_testing.h"

#include "docs/extending/my_parts.h"

namespace enodia {
namespace {

class CosineRouter : public ::testing::Test {
 protected:
  CosineRouter() {
    options_.hidden_size = 6;
    options_.num_experts = 3;
    router_ = make_cosine(options_, "gate", registry_);
    random_.fill(registry_);
  }

  at::Tensor master(const std::string& name) {
    return registry_.find("gate." + name).column("master");
  }

  const at::AutoGradMode no_grad_{false};
  ModelOptions options_;
  testing::Random random_;
  ParameterRegistry registry_{0, 1, at::kDouble};
  std::unique_ptr<Router> router_;
};

TEST_F(CosineRouter, HeedsDirectionsAndNotLengths) {
  const at::Tensor x = random_.draw({5, 6});
  master("temperature").fill_(1);
  const at::Tensor logits = router_->forward(x, nullptr);
  EXPECT_LE(logits.abs().max().item<double>(), 1 / 0.3 + 1e-12);
  EXPECT_TRUE(router_->forward(x * 7, nullptr).allclose(logits, 1e-12, 1e-12));
  master("experts").mul_(3);
  EXPECT_TRUE(router_->forward(x, nullptr).allclose(logits, 1e-12, 1e-12));
  master("temperature").fill_(2);
  EXPECT_TRUE(router_->forward(x, nullptr).allclose(logits / 2, 1e-12, 1e-12));
}

TEST_F(CosineRouter, HasTheGradientOfItsDifferences) {
  const at::Tensor x = random_.draw({5, 6}), weights = random_.draw({5, 3});
  const auto loss = [&] { return (router_->forward(x, nullptr) * weights).sum().item<double>(); };
  LocalGraph graph;
  router_->forward(x, &graph);
  const at::Tensor gradient = router_->backward(weights, x, graph);
  EXPECT_LE(testing::gradient_error(loss, x, gradient), 1e-8);
  for (const LogicalParameter& parameter : registry_.parameters()) {
    EXPECT_LE(testing::gradient_error(loss, parameter.column("master"), parameter.column("grad")),
              1e-8)
        << parameter.name;
    EXPECT_FALSE(parameter.decays) << parameter.name;
  }
}

TEST_F(CosineRouter, DoesWithoutTokens) {
  const at::Tensor none = random_.draw({0, 6});
  LocalGraph graph;
  const at::Tensor logits = router_->forward(none, &graph);
  EXPECT_EQ(logits.sizes(), at::IntArrayRef({0, 3}));
  EXPECT_EQ(router_->backward(logits, none, graph).sizes(), none.sizes());
}

}  // namespace
}  // namespace enodia
