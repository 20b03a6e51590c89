#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "models/local_graph.h"
#include "tests/extending/part_testing.h"

#include "docs/extending/my_parts.h"

namespace enodia {
namespace {

LossFunction smoothing(double e) {
  ModelOptions options;
  options.settings["smoothing"] = e;
  return make_label_smoothing(options);
}

const at::Tensor kLabels = at::tensor({3, -1, 0, 1}, at::kLong);

/// The same in the obvious way, row by row.
double obvious(const at::Tensor& logits, double e) {
  double sum = 0;
  for (int64_t row = 0; row < logits.size(0); ++row) {
    const auto label = kLabels[row].item<int64_t>();
    const double log_sum = std::log(logits[row].exp().sum().item<double>());
    for (int64_t token = 0; label >= 0 && token < logits.size(1); ++token) {
      const double truth = (token == label ? 1 - e : 0) + e / static_cast<double>(logits.size(1));
      sum += truth * (log_sum - logits[row][token].item<double>());
    }
  }
  return sum;
}

TEST(LabelSmoothing, SpreadsSomeOfTheTruth) {
  const at::Tensor logits = testing::Random().draw({4, 5});
  for (const double e : {0.0, 0.1, 0.5}) {
    EXPECT_NEAR(smoothing(e)(logits, kLabels).item<double>(), obvious(logits, e), 1e-12) << e;
  }
}

TEST(LabelSmoothing, HasTheGradientOfItsDifferences) {
  const at::Tensor logits = testing::Random().draw({4, 5});
  LocalGraph graph;
  const at::Tensor loss =
      graph.record([](const at::Tensor& leaf) { return smoothing(0.1)(leaf, kLabels); }, logits);
  const at::Tensor gradient = graph.gradients(at::full_like(loss, 1.0))[0];
  EXPECT_LE(testing::gradient_error([&] { return obvious(logits, 0.1); }, logits, gradient), 1e-8);
}

TEST(LabelSmoothing, IsNothingWithoutLabels) {
  const at::Tensor none = at::full_like(kLabels, -1);
  EXPECT_EQ(smoothing(0.1)(at::zeros({4, 5}, at::kDouble), none).item<double>(), 0.0);
}

TEST(LabelSmoothing, RefusesWhatIsNoProbability) {
  EXPECT_THROW(smoothing(1.0), ConfigError);
  EXPECT_THROW(smoothing(-0.1), ConfigError);
}

}  // namespace
}  // namespace enodia
