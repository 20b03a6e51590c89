#include "models/router/forced_counts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ops/zeros.h>

#include "common/check.h"

namespace enodia {
namespace {

/// Beside which scores, all below one, do not count.
constexpr double kFarLargerThanScores = 1000.0;

}  // namespace

std::span<const int32_t> ForcedCounts::of(int64_t step,
                                          int64_t micro_batch,
                                          int64_t layer,
                                          int64_t rank) const {
  const int64_t sample = (step * micro_batches + micro_batch) % samples;
  const int64_t row = (sample * layers + layer % layers) * ranks + rank;
  return std::span(counts).subspan(row * experts, experts);
}

std::vector<int64_t> spread_copies(std::span<const int32_t> counts,
                                   int64_t tokens,
                                   int64_t num_chosen) {
  const auto experts = std::ssize(counts);
  ENODIA_CHECK(num_chosen <= experts, "more choices than experts");
  std::vector<double> wanted(counts.begin(), counts.end());
  std::vector<int64_t> copies(experts, 0);
  std::vector<bool> full(experts, false);
  int64_t left = tokens * num_chosen;
  // Whoever would get more than all tokens gets just these, and the others share the rest.
  for (bool settled = false; !settled;) {
    settled = true;
    double sum = 0;
    for (int64_t expert = 0; expert < experts; ++expert) {
      sum += full[expert] ? 0 : wanted[expert];
    }
    if (sum == 0) {  // nothing was recorded for those with room: all alike
      for (int64_t expert = 0; expert < experts; ++expert) {
        wanted[expert] = full[expert] ? 0 : 1;
        sum += wanted[expert];
      }
    }
    const double scale = sum > 0 ? static_cast<double>(left) / sum : 0;
    for (int64_t expert = 0; expert < experts; ++expert) {
      if (!full[expert] && wanted[expert] * scale > static_cast<double>(tokens)) {
        full[expert] = true;
        copies[expert] = tokens;
        left -= tokens;
        settled = false;
      }
    }
    if (settled) {
      for (int64_t expert = 0; expert < experts; ++expert) {
        wanted[expert] *= full[expert] ? 0 : scale;
      }
    }
  }
  std::vector<int64_t> order(experts);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t expert = 0; expert < experts; ++expert) {
    if (!full[expert]) {
      copies[expert] = static_cast<int64_t>(std::floor(wanted[expert] + 1e-9));
      wanted[expert] -= static_cast<double>(copies[expert]);
      left -= copies[expert];
    }
  }
  std::stable_sort(
      order.begin(), order.end(), [&](int64_t a, int64_t b) { return wanted[a] > wanted[b]; });
  while (left > 0) {
    for (const int64_t expert : order) {
      if (left > 0 && copies[expert] < tokens) {
        ++copies[expert];
        --left;
      }
    }
  }
  return copies;
}

/// The copies, expert by expert, are dealt to the tokens like cards: an expert's copies go to
/// tokens that follow each other, none twice round.
at::Tensor counted_preferences(std::span<const int64_t> copies,
                               int64_t tokens,
                               const at::TensorOptions& options) {
  const auto experts = std::ssize(copies);
  const at::Tensor preferences = at::zeros({tokens, experts}, at::kDouble);
  auto* preference = preferences.mutable_data_ptr<double>();
  int64_t dealt = 0;
  for (int64_t expert = 0; expert < experts; ++expert) {
    ENODIA_CHECK(copies[expert] <= tokens, "an expert cannot be chosen twice by a token");
    for (int64_t copy = 0; copy < copies[expert]; ++copy, ++dealt) {
      preference[(dealt % tokens) * experts + expert] = kFarLargerThanScores;
    }
  }
  return preferences.to(options);
}

}  // namespace enodia
