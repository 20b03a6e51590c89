#include "models/router/forced_skew.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ops/argmax.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>

namespace enodia {
namespace {

const at::TensorOptions kFloat = at::TensorOptions().dtype(at::kFloat);

/// How often each expert is the first choice, in falling order.
std::vector<double> shares(RandomKey key, int64_t tokens, int64_t experts, double exponent) {
  const at::Tensor first = forced_preferences(key, 0, tokens, experts, exponent, kFloat).argmax(1);
  std::vector<double> counts(experts, 0);
  for (int64_t t = 0; t < tokens; ++t) {
    counts[first.const_data_ptr<int64_t>()[t]] += 1.0 / static_cast<double>(tokens);
  }
  std::sort(counts.rbegin(), counts.rend());
  return counts;
}

TEST(ForcedSkew, DrawsExpertsWithZipfsProbabilities) {
  for (const double exponent : {0.5, 1.0, 2.0}) {
    const auto seen = shares(RandomKey(5), 40000, 8, exponent);
    double sum = 0;
    for (int n = 1; n <= 8; ++n) {
      sum += std::pow(n, -exponent);
    }
    for (int n = 1; n <= 8; ++n) {
      EXPECT_NEAR(seen[n - 1], std::pow(n, -exponent) / sum, 0.01) << n << " of " << exponent;
    }
  }
}

TEST(ForcedSkew, PrefersOtherExpertsWithAnotherKey) {
  const auto favorite = [](uint64_t seed) {
    return forced_preferences(RandomKey(seed), 0, 2000, 16, 1.5, kFloat)
        .sum(0)
        .argmax()
        .item<int64_t>();
  };
  EXPECT_TRUE(favorite(1) != favorite(2) || favorite(1) != favorite(3));
}

TEST(ForcedSkew, DependsOnTheTokensPlaceInTheRunAlone) {
  const at::Tensor all = forced_preferences(RandomKey(4), 0, 9, 3, 1.0, kFloat);
  EXPECT_TRUE(
      at::equal(forced_preferences(RandomKey(4), 4, 5, 3, 1.0, kFloat), all.narrow(0, 4, 5)));
}

}  // namespace
}  // namespace enodia
