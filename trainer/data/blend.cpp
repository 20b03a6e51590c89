#include "trainer/data/blend.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/check.h"

namespace enodia {
namespace {

constexpr int64_t kLongestCycle = int64_t{1} << 20;

/// Weights over their sum; divided by the largest first, so that nothing overflows.
std::vector<double> normalize(std::span<const double> weights) {
  const double largest = *std::max_element(weights.begin(), weights.end());
  std::vector<double> normalized;
  for (const double weight : weights) {
    ENODIA_CHECK(std::isfinite(weight) && weight > 0, "weight ", weight);
    normalized.push_back(weight / largest);
  }
  const double sum = std::accumulate(normalized.begin(), normalized.end(), 0.0);
  for (double& weight : normalized) {
    weight /= sum;
    ENODIA_CHECK(weight >= Blend::kSmallestShare, "share ", weight);
  }
  return normalized;
}

/// Whether a cycle of this length gives every source a whole number of samples. The tolerance is
/// far above rounding of the weights, and below what could be noticed in 10^9 cycles.
bool is_exact(std::span<const double> normalized, int64_t cycle) {
  return std::all_of(normalized.begin(), normalized.end(), [cycle](double weight) {
    const double samples = weight * static_cast<double>(cycle);
    return std::round(samples) >= 1 && std::abs(samples - std::round(samples)) < 1e-9;
  });
}

/// Rounds to whole samples that sum to `cycle`: down, and up where the most is cut off.
std::vector<int64_t> apportion(std::span<const double> normalized, int64_t cycle) {
  std::vector<int64_t> shares;
  std::vector<std::pair<double, size_t>> rests;
  for (size_t i = 0; i < normalized.size(); ++i) {
    const double samples = normalized[i] * static_cast<double>(cycle);
    // A whole number that rounding has made a little smaller is meant.
    shares.push_back(static_cast<int64_t>(std::floor(samples + 1e-9)));
    rests.emplace_back(static_cast<double>(shares.back()) - samples, i);
  }
  std::sort(rests.begin(), rests.end());
  const int64_t missing = cycle - std::accumulate(shares.begin(), shares.end(), int64_t{0});
  for (int64_t i = 0; i < missing; ++i) {
    ++shares[rests[i].second];
  }
  return shares;
}

std::vector<int64_t> shares_of(std::span<const double> weights) {
  ENODIA_CHECK(
      !weights.empty() && std::ssize(weights) <= Blend::kMaxSources, weights.size(), " sources");
  const std::vector<double> normalized = normalize(weights);
  int64_t cycle = std::ssize(weights);
  while (cycle < kLongestCycle && !is_exact(normalized, cycle)) {
    ++cycle;
  }
  return apportion(normalized, cycle);
}

}  // namespace

Blend::Blend(std::span<const double> weights) : shares_(shares_of(weights)) {
  const int64_t cycle = std::accumulate(shares_.begin(), shares_.end(), int64_t{0});
  std::vector<int64_t> taken(shares_.size(), 0);
  // After n samples source i should have had n * share / cycle: its next sample, of which `taken`
  // come before it, may be number n (from 1) once that exceeds `taken`, and must be by the time
  // that it reaches taken + 1.
  const auto may_come = [&](size_t i, int64_t n) { return n * shares_[i] > taken[i] * cycle; };
  const auto deadline = [&](size_t i) {
    return ((taken[i] + 1) * cycle + shares_[i] - 1) / shares_[i];
  };
  std::vector<int64_t> deadlines;
  for (size_t i = 0; i < shares_.size(); ++i) {
    deadlines.push_back(deadline(i));
  }
  slots_.reserve(static_cast<size_t>(cycle));
  for (int64_t n = 1; n <= cycle; ++n) {
    size_t next = shares_.size();
    for (size_t i = 0; i < shares_.size(); ++i) {
      if (may_come(i, n) && (next == shares_.size() || deadlines[i] < deadlines[next])) {
        next = i;
      }
    }
    ENODIA_CHECK(next < shares_.size(), "no source may give sample ", n, " of ", cycle);
    slots_.push_back({static_cast<int32_t>(next), static_cast<int32_t>(taken[next])});
    ++taken[next];
    deadlines[next] = deadline(next);
  }
}

Blend::Place Blend::place(int64_t sample) const {
  ENODIA_CHECK(sample >= 0, "sample ", sample);
  const Slot slot = slots_[static_cast<size_t>(sample % cycle())];
  return {slot.source, sample / cycle() * shares_[static_cast<size_t>(slot.source)] + slot.number};
}

}  // namespace enodia
