#include "models/router/forced_skew.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <ATen/ops/empty.h>

namespace enodia {
namespace {

/// What a router's scores, all below one, can change of a preference is below a thousandth.
constexpr double kFarLargerThanScores = 1000.0;

/// [experts] logarithms of their probabilities, up to a constant.
std::vector<double> log_zipf(RandomKey key, int64_t experts, double exponent) {
  std::vector<int64_t> order(experts);
  std::iota(order.begin(), order.end(), 0);
  const auto draw = [&](int64_t expert) {
    return random_uniform(key, static_cast<uint64_t>(expert));
  };
  std::stable_sort(
      order.begin(), order.end(), [&](int64_t a, int64_t b) { return draw(a) < draw(b); });
  std::vector<double> logs(experts);
  for (int64_t place = 0; place < experts; ++place) {
    logs[order[place]] = -exponent * std::log(static_cast<double>(place + 1));
  }
  return logs;
}

}  // namespace

at::Tensor forced_preferences(RandomKey key,
                              int64_t first_token,
                              int64_t tokens,
                              int64_t experts,
                              double exponent,
                              const at::TensorOptions& options) {
  const std::vector<double> logs = log_zipf(key.with("order"), experts, exponent);
  const at::Tensor preferences = at::empty({tokens, experts}, at::kDouble);
  auto* preference = preferences.mutable_data_ptr<double>();
  const RandomKey draws = key.with("draws");
  const auto first = static_cast<uint64_t>(first_token * experts);
  for (int64_t i = 0; i < preferences.numel(); ++i) {
    const double uniform =
        std::clamp(random_uniform(draws, first + static_cast<uint64_t>(i)), 1e-12, 1.0 - 1e-12);
    preference[i] = kFarLargerThanScores * (logs[i % experts] - std::log(-std::log(uniform)));
  }
  return preferences.to(options);
}

}  // namespace enodia
