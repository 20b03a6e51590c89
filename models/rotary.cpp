#include "models/rotary.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace enodia {
namespace {

bool is_yarn(const ModelOptions& o) {
  return o.rope_scaling == "yarn";
}

double mscale(double factor, double weight) {
  return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

double magnitude_of(const ModelOptions& o) {
  if (o.rope_attention_factor > 0) {
    return o.rope_attention_factor;
  }
  if (o.rope_mscale > 0 && o.rope_mscale_all_dim > 0) {
    return mscale(o.rope_factor, o.rope_mscale) / mscale(o.rope_factor, o.rope_mscale_all_dim);
  }
  return mscale(o.rope_factor, 1.0);
}

/// The pair, a fraction of them included, that makes so many turns in the longest sequence of
/// before.
double pair_of_turns(const ModelOptions& o, double turns) {
  const auto length = static_cast<double>(o.rope_original_max_position_embeddings);
  return static_cast<double>(o.rotary_dim()) * std::log(length / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(o.rope_theta));
}

/// Pairs up to the first bound keep their frequency, those from the second on are slowed down by
/// the factor, and between them it is a mixture.
void slow_down(const ModelOptions& o, std::vector<double>& frequencies) {
  double first = pair_of_turns(o, o.rope_beta_fast);
  double last = pair_of_turns(o, o.rope_beta_slow);
  if (o.rope_truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, static_cast<double>(o.rotary_dim() - 1));
  if (first == last) {
    last += 0.001;  // as transformers does, against a division by zero
  }
  for (size_t pair = 0; pair < frequencies.size(); ++pair) {
    const double slowed =
        std::clamp((static_cast<double>(pair) - first) / (last - first), 0.0, 1.0);
    frequencies[pair] *= slowed / o.rope_factor + (1 - slowed);
  }
}

}  // namespace

Rotary rotary_of(const ModelOptions& o) {
  Rotary rotary;
  rotary.interleaved = o.rope_interleave;
  const int64_t dim = o.rotary_dim();
  for (int64_t pair = 0; pair < dim / 2; ++pair) {
    rotary.frequencies.push_back(
        std::pow(o.rope_theta, -2.0 * static_cast<double>(pair) / static_cast<double>(dim)));
  }
  if (is_yarn(o)) {
    slow_down(o, rotary.frequencies);
    rotary.magnitude = magnitude_of(o);
  }
  return rotary;
}

double latent_score_factor(const ModelOptions& o) {
  if (!is_yarn(o) || o.rope_mscale_all_dim == 0) {
    return 1.0;
  }
  const double sharper = mscale(o.rope_factor, o.rope_mscale_all_dim);
  return sharper * sharper;
}

}  // namespace enodia
