#include "tests/simulator/generated_trace.h"

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "common/random.h"

namespace enodia {

RoutingTrace generate_trace(const GeneratedTrace& options) {
  const RandomKey key(options.seed);
  std::vector<int32_t> counts;
  std::vector<std::vector<double>> logs(options.layers, std::vector<double>(options.experts));
  for (int sample = 0; sample < options.samples; ++sample) {
    for (int layer = 0; layer < options.layers; ++layer) {
      std::vector<double> ends;
      double sum = 0;
      for (int expert = 0; expert < options.experts; ++expert) {
        // Expert number (expert * 7 + layer) in order of load: hot ones lie apart.
        const int place = (expert * 7 + layer) % options.experts;
        double& log = logs[layer][expert];
        const auto draw =
            static_cast<uint64_t>((sample * options.layers + layer) * options.experts + expert);
        log = sample == 0 ? -options.decay * place
                          : log + options.drift * random_normal(key.with("drift"), draw);
        sum += std::exp(log);
        ends.push_back(sum);
      }
      for (int rank = 0; rank < options.ranks; ++rank) {
        std::vector<int32_t> row(options.experts, 0);
        const RandomKey of_rank = key.with("tokens")
                                      .with(static_cast<uint64_t>(sample))
                                      .with(static_cast<uint64_t>(layer * options.ranks + rank));
        for (int token = 0; token < options.tokens; ++token) {
          const double at = sum * random_uniform(of_rank, static_cast<uint64_t>(token));
          int expert = 0;
          while (expert + 1 < options.experts && ends[expert] < at) {
            ++expert;
          }
          ++row[expert];
        }
        counts.insert(counts.end(), row.begin(), row.end());
      }
    }
  }
  return {options.samples, options.layers, options.ranks, options.experts, std::move(counts)};
}

}  // namespace enodia
