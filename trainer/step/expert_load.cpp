#include "trainer/step/expert_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

namespace enodia {
namespace {

/// max / mean of each of `layers` equal rows, averaged over the rows.
double mean_imbalance(const std::vector<int64_t>& values, size_t layers) {
  double sum = 0;
  for (size_t layer = 0; layer < layers; ++layer) {
    const size_t columns = values.size() / layers;
    const std::span row(values.data() + layer * columns, columns);
    const auto total = static_cast<double>(std::accumulate(row.begin(), row.end(), int64_t{0}));
    const auto largest = static_cast<double>(*std::max_element(row.begin(), row.end()));
    sum += total > 0 ? largest * static_cast<double>(columns) / total : 1.0;
  }
  return layers > 0 ? sum / static_cast<double>(layers) : 1.0;
}

/// The value below which `share` of the sorted values lie, linear between neighbors.
double percentile(std::span<const int64_t> sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(static_cast<double>(sorted[below]),
                   static_cast<double>(sorted[above]),
                   place - static_cast<double>(below));
}

LayerLoad summarize_layer(int64_t layer, std::vector<int64_t> tokens, double entropy) {
  LayerLoad load;
  load.layer = layer;
  load.entropy = entropy;
  if (tokens.size() > 1) {
    load.normalized_entropy = entropy / std::log(static_cast<double>(tokens.size()));
  }
  const int64_t total = std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
  if (total == 0) {
    return load;
  }
  std::sort(tokens.begin(), tokens.end());
  const auto experts = static_cast<int64_t>(tokens.size());
  const double mean = static_cast<double>(total) / static_cast<double>(experts);
  load.p10 = percentile(tokens, 0.1) / mean;
  load.p50 = percentile(tokens, 0.5) / mean;
  load.p90 = percentile(tokens, 0.9) / mean;
  load.max_violation = static_cast<double>(tokens.back()) / mean - 1.0;
  load.dead = std::count(tokens.begin(), tokens.end(), 0);
  load.hot = std::count_if(tokens.begin(), tokens.end(), [&](int64_t count) {
    return count * experts > kHotLoad * total;  // in integers: exactly twice the mean is not hot
  });
  return load;
}

}  // namespace

Imbalance imbalance_of(const StepLoad& load) {
  const size_t layers = load.entropy.size();
  return {mean_imbalance(load.tokens, layers), mean_imbalance(load.rows, layers)};
}

std::vector<LayerLoad> summarize(const StepLoad& load) {
  std::vector<LayerLoad> layers;
  for (size_t i = 0; i < load.entropy.size(); ++i) {
    const auto first = load.tokens.begin() + static_cast<int64_t>(i) * load.num_experts;
    layers.push_back(summarize_layer(load.first_layer + static_cast<int64_t>(i),
                                     {first, first + load.num_experts},
                                     load.entropy[i]));
  }
  return layers;
}

}  // namespace enodia
