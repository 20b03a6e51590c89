#include "simulator/generated_trace.h"

#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "common/random.h"

namespace enodia {
namespace {

/// The logarithms of the shares of one layer's experts, sample by sample.
class Shares {
 public:
  Shares(const GeneratedTrace& options, int layer)
      : options_(options),
        layer_(layer),
        logs_(options.experts) {}

  void advance(int sample) {
    const RandomKey key(options_.seed);
    const bool anew = sample == 0 || sample == options_.shift_at;
    for (int expert = 0; expert < options_.experts; ++expert) {
      const auto draw =
          static_cast<uint64_t>((sample * options_.layers + layer_) * options_.experts + expert);
      logs_[expert] = anew
                          ? log_of_place(place_of(expert, sample))
                          : logs_[expert] + options_.drift * random_normal(key.with("drift"), draw);
    }
    bursting_ =
        static_cast<int>(random_permutation(key.with("burst").with(static_cast<uint64_t>(layer_)),
                                            static_cast<uint64_t>(options_.experts),
                                            static_cast<uint64_t>(sample % options_.experts)));
  }

  /// Sums of the shares of a node's tokens: [experts], ascending.
  std::vector<double> sums_on(int node) const {
    std::vector<double> sums;
    double sum = 0;
    for (int expert = 0; expert < options_.experts; ++expert) {
      const int home = expert * options_.nodes / options_.experts;
      sum += std::exp(logs_[expert] + (expert == bursting_ ? options_.burst : 0.0) +
                      (home == node ? options_.home : 0.0));
      sums.push_back(sum);
    }
    return sums;
  }

 private:
  /// Place in order of load: hot experts lie apart.
  int place_of(int expert, int sample) const {
    const bool shifted = options_.shift_at > 0 && sample >= options_.shift_at;
    return (expert * 7 + layer_ + (shifted ? options_.experts / 2 : 0)) % options_.experts;
  }
  double log_of_place(int place) const {
    return -options_.decay * place - options_.zipf * std::log(place + 1.0);
  }

  const GeneratedTrace& options_;
  int layer_;
  std::vector<double> logs_;
  int bursting_ = 0;
};

/// Tokens that one rank draws.
std::vector<int32_t> draw(const std::vector<double>& sums, int tokens, RandomKey key) {
  std::vector<int32_t> row(sums.size(), 0);
  for (int token = 0; token < tokens; ++token) {
    const double at = sums.back() * random_uniform(key, static_cast<uint64_t>(token));
    size_t expert = 0;
    while (expert + 1 < sums.size() && sums[expert] < at) {
      ++expert;
    }
    ++row[expert];
  }
  return row;
}

constexpr int kExpertsARank = 2;

constexpr std::array kPresets{
    TracePreset{"uniform",
                "all experts alike, as a load-balance loss makes them",
                {.decay = 0.0, .drift = 0.02}},
    TracePreset{"zipf", "shares 1, 1/2, 1/3 ...", {.decay = 0.0, .zipf = 1.0, .drift = 0.05}},
    TracePreset{"drifting", "few hot experts, which change fast", {.drift = 0.4}},
    TracePreset{"bursty",
                "each micro-batch another expert has twenty times its share",
                {.decay = 0.1, .drift = 0.05, .burst = 3.0}},
    TracePreset{"phase_shift",
                "half way other experts become the hot ones",
                {.drift = 0.05, .shift_at = 10}},
    TracePreset{"hot_nodes",
                "tokens prefer the experts of their own node, four to one",
                {.decay = 0.15, .drift = 0.05, .home = 1.4}},
};

}  // namespace

RoutingTrace generate_trace(const GeneratedTrace& options) {
  const RandomKey key = RandomKey(options.seed).with("tokens");
  std::vector<int32_t> counts;
  std::vector<Shares> shares;
  for (int layer = 0; layer < options.layers; ++layer) {
    shares.emplace_back(options, layer);
  }
  for (int sample = 0; sample < options.samples; ++sample) {
    for (int layer = 0; layer < options.layers; ++layer) {
      shares[layer].advance(sample);
      for (int rank = 0; rank < options.ranks; ++rank) {
        const std::vector<int32_t> row =
            draw(shares[layer].sums_on(rank * options.nodes / options.ranks),
                 options.tokens,
                 key.with(static_cast<uint64_t>(sample))
                     .with(static_cast<uint64_t>(layer * options.ranks + rank)));
        counts.insert(counts.end(), row.begin(), row.end());
      }
    }
  }
  return {options.samples, options.layers, options.ranks, options.experts, std::move(counts)};
}

std::span<const TracePreset> trace_presets() {
  return kPresets;
}

RoutingTrace on_cluster(const TracePreset& preset, int nodes, int ranks_per_node) {
  GeneratedTrace options = preset.options;
  options.samples = 20;
  options.layers = 3;
  options.ranks = nodes * ranks_per_node;
  options.experts = kExpertsARank * options.ranks;
  options.nodes = nodes;
  return generate_trace(options);
}

}  // namespace enodia
