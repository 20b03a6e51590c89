#include "parallel/placement/load_forecast.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace enodia {
namespace {

constexpr int kFraction = 256;
constexpr int kFading = 8;

/// What a mean has missed; then it takes the counts in.
int64_t miss_and_take(std::vector<int64_t>& mean, std::span<const int32_t> tokens, int shift) {
  int64_t missed = 0;
  for (size_t i = 0; i < mean.size(); ++i) {
    const int64_t off = int64_t{tokens[i]} * kFraction - mean[i];
    missed += std::abs(off);
    mean[i] += off >> shift;
  }
  return missed;
}

}  // namespace

LoadForecast::LoadForecast(int num_nodes, int num_experts) {
  for (std::vector<int64_t>& mean : means_) {
    mean.assign(static_cast<size_t>(num_nodes) * num_experts, 0);
  }
}

void LoadForecast::observe(const NodeCounts& counts) {
  for (size_t i = 0; i < means_.size(); ++i) {
    const int64_t missed = miss_and_take(means_[i], counts.tokens(), observed_ ? kShifts[i] : 0);
    missed_[i] = observed_ ? missed_[i] - missed_[i] / kFading + missed : 0;
  }
  observed_ = true;
}

size_t LoadForecast::choose() const {
  const auto best = std::min_element(missed_.begin(), missed_.end()) - missed_.begin();
  return missed_[best] < missed_[0] / 5 * 4 ? best : 0;
}

void LoadForecast::foretell(NodeCounts& counts) const {
  counts.assign([&mean = means_[choose()]](size_t cell) {
    return static_cast<int32_t>((mean[cell] + kFraction / 2) / kFraction);
  });
}

void LoadForecast::save(std::vector<int64_t>& saved) const {
  saved.push_back(observed_ ? 1 : 0);
  saved.insert(saved.end(), missed_.begin(), missed_.end());
  for (const std::vector<int64_t>& mean : means_) {
    saved.insert(saved.end(), mean.begin(), mean.end());
  }
}

void LoadForecast::read(SavedNumbers& saved) {
  constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();
  observed_ = saved.next(0, 1) == 1;
  for (int64_t& missed : missed_) {
    missed = saved.next(0, std::numeric_limits<int64_t>::max() / 2);
  }
  for (std::vector<int64_t>& mean : means_) {
    for (int64_t& tokens : mean) {
      tokens = saved.next(0, kMostTokens * kFraction);
    }
  }
}

}  // namespace enodia
