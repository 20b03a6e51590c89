#include "models/router/route.h"

#include <cmath>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace enodia {
namespace {

double number(const at::Tensor& tensor) {
  return tensor.item<double>();
}

using testing::Each;
using testing::ElementsAre;

std::vector<int32_t> ids_of(const Route& route) {
  const auto* ids = route.expert_ids.const_data_ptr<int32_t>();
  return {ids, ids + route.expert_ids.numel()};
}

at::Tensor rows(std::vector<double> values, int64_t columns) {
  return at::tensor(at::ArrayRef<double>(values), at::kDouble).view({-1, columns});
}

/// The load-balance loss where all tokens are one set.
RouterLoss loss_of_one_set(const Route& route,
                           const at::Tensor& valid,
                           const std::vector<int64_t>& counts,
                           int64_t num_valid,
                           double grad_scale) {
  const at::Tensor copies = at::tensor(at::ArrayRef<int64_t>(counts), at::kLong).unsqueeze(0);
  return balance_loss(route,
                      valid,
                      at::zeros({valid.size(0)}, at::kLong),
                      load_fractions(copies,
                                     at::tensor({num_valid}, at::kLong),
                                     route.chosen_ids.size(1),
                                     route.probs.scalar_type()),
                      grad_scale);
}

TEST(Route, ChoosesTheLargestAndTiesGoToSmallerIds) {
  const Route route = route_tokens(rows({1,
                                         3,
                                         2,
                                         3,  //
                                         0,
                                         0,
                                         0,
                                         0,  //
                                         5,
                                         5,
                                         9,
                                         5},
                                        4),
                                   2,
                                   {});
  EXPECT_EQ(route.expert_ids.scalar_type(), at::kInt);
  EXPECT_THAT(ids_of(route), ElementsAre(1, 3, 0, 1, 2, 0));
  EXPECT_THAT(route.counts, ElementsAre(2, 2, 1, 1));
}

TEST(Route, BreaksTiesAmongManyExperts) {
  const Route route = route_tokens(at::zeros({3, 100}, at::kFloat), 5, {});
  EXPECT_THAT(ids_of(route), ElementsAre(0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4));
}

TEST(Route, TellsHowNarrowlyItChose) {
  // Probabilities 1/8, 5/8, 2/8 and 1/3 each: between the second and the third lie 1/8 and 0.
  const at::Tensor clear = rows({std::log(1.0), std::log(5.0), std::log(2.0)}, 3);
  EXPECT_NEAR(number(route_tokens(clear, 2, {}).margin), 1 / 8., 1e-15);
  EXPECT_NEAR(number(route_tokens(clear, 1, {}).margin), 3 / 8., 1e-15);
  EXPECT_EQ(number(route_tokens(at::cat({clear, at::zeros_like(clear)}), 2, {}).margin), 0.0);
  EXPECT_FALSE(route_tokens(clear, 3, {}).margin.defined()) << "all are chosen";
  EXPECT_FALSE(route_tokens(clear.narrow(0, 0, 0), 2, {}).margin.defined()) << "no token";
}

TEST(Route, WeighsByProbabilityOrItsShareOfTheChosen) {
  // Probabilities 1/8, 5/8, 2/8.
  const at::Tensor logits = rows({std::log(1.0), std::log(5.0), std::log(2.0)}, 3);
  const auto weights = [&](bool renormalize, double scale) {
    const Route route = route_tokens(logits, 2, {renormalize, scale});
    const auto* first = route.weights.const_data_ptr<double>();
    return std::vector<double>{first[0], first[1]};
  };
  using testing::DoubleNear;
  EXPECT_THAT(weights(false, 1.0), ElementsAre(DoubleNear(5 / 8., 1e-15), DoubleNear(0.25, 1e-15)));
  EXPECT_THAT(weights(true, 1.0),
              ElementsAre(DoubleNear(5 / 7., 1e-15), DoubleNear(2 / 7., 1e-15)));
  EXPECT_THAT(weights(true, 2.5),
              ElementsAre(DoubleNear(12.5 / 7, 1e-15), DoubleNear(5 / 7., 1e-15)));
}

TEST(Route, LetsEachSigmoidScoreStandForItself) {
  // Scores 1/2, 3/4, 1/4.
  const at::Tensor logits = rows({0.0, std::log(3.0), -std::log(3.0)}, 3);
  const auto values = [](const at::Tensor& row) {
    const auto* first = row.const_data_ptr<double>();
    return std::vector<double>(first, first + row.numel());
  };
  using testing::DoubleNear;
  const Route raw = route_tokens(logits, 2, {false, 2.0, ScoringFunc::kSigmoid});
  EXPECT_THAT(ids_of(raw), ElementsAre(1, 0));
  EXPECT_THAT(values(raw.weights), ElementsAre(DoubleNear(1.5, 1e-15), DoubleNear(1.0, 1e-15)));
  EXPECT_THAT(
      values(raw.probs),
      ElementsAre(DoubleNear(1 / 3., 1e-15), DoubleNear(0.5, 1e-15), DoubleNear(1 / 6., 1e-15)));
  const Route shares = route_tokens(logits, 2, {true, 2.0, ScoringFunc::kSigmoid});
  EXPECT_THAT(values(shares.weights), ElementsAre(DoubleNear(1.2, 1e-15), DoubleNear(0.8, 1e-15)));
}

TEST(Route, GivesNumbersWhereAllSigmoidsUnderflow) {
  const Route route =
      route_tokens(at::zeros({1, 4}, at::kFloat) - 200.0, 2, {.scoring = ScoringFunc::kSigmoid});
  EXPECT_EQ(route.weights.abs().sum().item<double>(), 0.0);
  EXPECT_EQ(route.probs.abs().sum().item<double>(), 0.0);
}

TEST(Route, MayHaveNoTokens) {
  const Route route = route_tokens(at::zeros({0, 4}, at::kDouble), 2, {});
  EXPECT_THAT(route.expert_ids.sizes(), ElementsAre(0, 2));
  EXPECT_THAT(route.counts, Each(0));
  const at::Tensor grad = route_backward(route, at::zeros({0, 2}, at::kDouble), {}, {});
  EXPECT_THAT(grad.sizes(), ElementsAre(0, 4));
}

/// The scores, written out.
at::Tensor scores_of(const at::Tensor& logits, ScoringFunc scoring) {
  const at::Tensor powers = logits.exp();
  return scoring == ScoringFunc::kSoftmax ? powers / powers.sum(1, true) : powers / (powers + 1.0);
}

/// The chosen weights, one token and choice at a time.
at::Tensor weights_of(const at::Tensor& scores,
                      const at::Tensor& expert_ids,
                      const RouteOptions& options) {
  std::vector<at::Tensor> tokens;
  for (int64_t t = 0; t < expert_ids.size(0); ++t) {
    std::vector<at::Tensor> chosen;
    for (int64_t k = 0; k < expert_ids.size(1); ++k) {
      chosen.push_back(scores[t][expert_ids[t][k].item<int32_t>()]);
    }
    const at::Tensor row = at::stack(chosen);
    tokens.push_back((options.renormalize ? row / row.sum() : row) * options.scale);
  }
  return at::stack(tokens);
}

/// Random logits as a leaf, and a mask that leaves out tokens 1 and 4.
class RouteGradients : public testing::Test {
 protected:
  at::Tensor draw(at::IntArrayRef shape) { return at::randn(shape, generator_, at::kDouble); }
  static void expect_near(const at::Tensor& actual, const at::Tensor& expected) {
    ASSERT_EQ(actual.sizes(), expected.sizes());
    EXPECT_LE((actual - expected).abs().max().item<double>(), 1e-13);
    EXPECT_GT(expected.abs().max().item<double>(), 1e-3) << "a gradient of zero proves nothing";
  }

  at::Generator generator_ = at::detail::createCPUGenerator(3);
  at::Tensor logits_ = draw({6, 5}).set_requires_grad(true);
  const at::Tensor valid_ =
      at::tensor({1, 0, 1, 1, 0, 1}, at::TensorOptions().dtype(at::kLong)).to(at::kBool);
};

TEST_F(RouteGradients, OfWeightsAgreeWithAutograd) {
  const at::Tensor grad_weights = draw({6, 3});
  const at::Tensor grad_probs = draw({6, 5});
  for (const RouteOptions& options : {RouteOptions{true, 1.0},
                                      RouteOptions{false, 1.0},
                                      RouteOptions{true, 2.5},
                                      RouteOptions{false, 0.5},
                                      RouteOptions{true, 2.5, ScoringFunc::kSigmoid},
                                      RouteOptions{false, 0.5, ScoringFunc::kSigmoid}}) {
    for (const bool with_probs : {false, true}) {
      const Route route = route_tokens(logits_.detach(), 3, options);
      const at::Tensor scores = scores_of(logits_, options.scoring);
      const at::Tensor probs = scores / scores.sum(1, true);
      const at::Tensor weights = weights_of(scores, route.expert_ids, options);
      EXPECT_LE((route.weights - weights.detach()).abs().max().item<double>(), 1e-14);
      at::Tensor objective = (weights * grad_weights).sum();
      if (with_probs) {
        objective = objective + (probs * grad_probs).sum();
      }
      logits_.mutable_grad() = at::Tensor();
      objective.backward();
      expect_near(
          route_backward(route, grad_weights, with_probs ? grad_probs : at::Tensor(), options),
          logits_.grad());
    }
  }
}

TEST_F(RouteGradients, OfAWeightThatIsAlwaysOneAreZero) {
  const Route route = route_tokens(logits_.detach(), 1, {.renormalize = true});
  const at::Tensor grad = route_backward(route, draw({6, 1}), {}, {.renormalize = true});
  EXPECT_LE(grad.abs().max().item<double>(), 1e-15);
}

TEST_F(RouteGradients, OfOneSigmoidScoreTeachTheRouter) {
  const RouteOptions options{.renormalize = false, .scoring = ScoringFunc::kSigmoid};
  const Route route = route_tokens(logits_.detach(), 1, options);
  const at::Tensor grad_weights = draw({6, 1});
  scores_of(logits_, options.scoring)
      .gather(1, route.expert_ids.to(at::kLong))
      .mul(grad_weights)
      .sum()
      .backward();
  expect_near(route_backward(route, grad_weights, {}, options), logits_.grad());
}

TEST_F(RouteGradients, OfTheAuxLossAgreeWithAutograd) {
  const Route route = route_tokens(logits_.detach(), 2, {});
  const auto counts = count_valid_copies(route.expert_ids, valid_, 5);
  constexpr double kScale = 0.3;
  const RouterLoss loss = loss_of_one_set(route, valid_, counts, 4, kScale);

  // L = E sum_i f_i P_i with f and P over the four valid tokens; then times those tokens.
  at::Tensor probs = route.probs.clone().set_requires_grad(true);
  at::Tensor objective = at::zeros({}, at::kDouble);
  for (int64_t expert = 0; expert < 5; ++expert) {
    double count = 0;
    at::Tensor mean = at::zeros({}, at::kDouble);
    for (const int64_t t : {0, 2, 3, 5}) {
      count += static_cast<double>((route.expert_ids[t] == expert).sum().item<int64_t>());
      mean = mean + probs[t][expert] / 4.0;
    }
    objective = objective + 5.0 * (count / (2.0 * 4.0)) * mean;
  }
  objective = objective * 4.0;
  EXPECT_NEAR(number(loss.sum), objective.item<double>(), 1e-13);
  (objective * kScale).backward();
  expect_near(loss.gradient, probs.grad());
  EXPECT_EQ(loss.gradient[1].abs().max().item<double>(), 0.0) << "not a valid token";
}

TEST_F(RouteGradients, OfTheZLossAgreeWithAutograd) {
  for (const ScoringFunc scoring : {ScoringFunc::kSoftmax, ScoringFunc::kSigmoid}) {
    const Route route = route_tokens(logits_.detach(), 2, {.scoring = scoring});
    constexpr double kScale = 0.3;
    const RouterLoss loss = z_loss(route, valid_, kScale);
    at::Tensor objective = at::zeros({}, at::kDouble);
    for (const int64_t t : {0, 2, 3, 5}) {
      objective = objective + logits_[t].exp().sum().log().square();
    }
    EXPECT_NEAR(number(loss.sum), objective.item<double>(), 1e-13);
    logits_.mutable_grad() = at::Tensor();
    (objective * kScale).backward();
    expect_near(loss.gradient, logits_.grad());
    EXPECT_EQ(loss.gradient[4].abs().max().item<double>(), 0.0) << "not a valid token";
  }
}

TEST(AuxLoss, IsOneWhenTokensAndProbabilitiesAreUniform) {
  Route route = route_tokens(at::zeros({4, 4}, at::kDouble), 1, {});
  for (int32_t t = 0; t < 4; ++t) {
    route.expert_ids.data_ptr<int32_t>()[t] = t;
  }
  const at::Tensor everyone = at::zeros({4}, at::kLong) == 0;
  EXPECT_DOUBLE_EQ(number(loss_of_one_set(route, everyone, {1, 1, 1, 1}, 4, 1.0).sum), 4.0);
}

TEST(RouterLosses, AreZeroWithoutValidTokens) {
  for (const int64_t tokens : {0, 3}) {
    const Route route = route_tokens(at::zeros({tokens, 4}, at::kDouble), 2, {});
    const at::Tensor nobody = at::zeros({tokens}, at::kBool);
    EXPECT_THAT(count_valid_copies(route.expert_ids, nobody, 4), Each(0));
    const RouterLoss aux = loss_of_one_set(route, nobody, {0, 0, 0, 0}, 0, 1.0);
    EXPECT_EQ(number(aux.sum), 0.0);
    if (aux.gradient.defined()) {
      EXPECT_EQ(aux.gradient.abs().sum().item<double>(), 0.0);
    }
    const RouterLoss z = z_loss(route, nobody, 1.0);
    EXPECT_EQ(number(z.sum), 0.0);
    EXPECT_EQ(z.gradient.abs().sum().item<double>(), 0.0);
  }
}

TEST(RouterEntropy, IsLnEWhenUndecidedAndZeroWhenSure) {
  const at::Tensor everyone = at::zeros({3}, at::kLong) == 0;
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const Route even = route_tokens(at::zeros({3, 7}, type), 2, {});
    EXPECT_NEAR(number(router_entropy(even, everyone)), 3 * std::log(7.0), 1e-6);
    const Route sure =
        route_tokens(rows({1000, 0, 0, -1000, 0, 1000, 0, 2000, 0}, 3).to(type), 1, {});
    EXPECT_EQ(number(router_entropy(sure, everyone)), 0.0) << "probabilities of exactly zero";
  }
}

TEST(RouterEntropy, SumsOverValidTokensAndScoresMayHaveAnySum) {
  Route route = route_tokens(rows({0, 0, std::log(1.0), std::log(3.0), 5, 1}, 2), 1, {});
  const at::Tensor valid = at::tensor({0, 1, 0}, at::TensorOptions().dtype(at::kInt)).to(at::kBool);
  const double expected = -0.25 * std::log(0.25) - 0.75 * std::log(0.75);
  EXPECT_NEAR(number(router_entropy(route, valid)), expected, 1e-15);
  route.probs = route.probs * 1.6;
  EXPECT_NEAR(number(router_entropy(route, valid)), expected, 1e-15);
}

TEST(RouterEntropy, IsZeroWithoutValidTokens) {
  for (const int64_t tokens : {0, 3}) {
    const Route route = route_tokens(at::zeros({tokens, 4}, at::kFloat), 2, {});
    EXPECT_EQ(number(router_entropy(route, at::zeros({tokens}, at::kBool))), 0.0);
  }
}

TEST(CountValidCopies, LeavesOutEmptyChoicesAndInvalidTokens) {
  const at::Tensor ids =
      at::tensor({0, 2, 2, -1, 1, 2}, at::TensorOptions().dtype(at::kInt)).view({3, 2});
  const at::Tensor valid = at::tensor({1, 1, 0}, at::TensorOptions().dtype(at::kInt)).to(at::kBool);
  EXPECT_THAT(count_valid_copies(ids, valid, 4), ElementsAre(1, 0, 2, 0));
}

}  // namespace
}  // namespace enodia
