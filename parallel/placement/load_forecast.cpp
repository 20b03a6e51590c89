#include "parallel/placement/load_forecast.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "common/vector_clones.h"

namespace enodia {
namespace {

constexpr int32_t kFraction = 16;
constexpr int32_t kMostTokens = 1 << 26;
constexpr int kFading = 8;

/// What a mean has missed; then it takes the counts in.
ENODIA_CLONES int64_t miss_and_take(int32_t* mean, const int32_t* tokens, size_t cells, int shift) {
  int64_t missed = 0;
  for (size_t i = 0; i < cells; ++i) {
    const int32_t off = std::min(tokens[i], kMostTokens) * kFraction - mean[i];
    missed += std::abs(off);
    mean[i] += off >> shift;
  }
  return missed;
}

/// Of the last and two before it.
ENODIA_CLONES void take_medians(
    const int32_t* last, const int32_t* a, const int32_t* b, size_t cells, int32_t* medians) {
  for (size_t i = 0; i < cells; ++i) {
    const int32_t less = std::min(a[i], b[i]);
    const int32_t more = std::max(a[i], b[i]);
    medians[i] = std::min(std::max(last[i], less), more);
  }
}

}  // namespace

LoadForecast::LoadForecast(int num_nodes, int num_experts) {
  const size_t cells = static_cast<size_t>(num_nodes) * num_experts;
  for (std::vector<int32_t>& tokens : foretold_) {
    tokens.assign(cells, 0);
  }
  for (std::vector<int32_t>& tokens : before_) {
    tokens.assign(cells, 0);
  }
}

void LoadForecast::observe(const NodeCounts& counts) {
  std::swap(before_[0], before_[1]);
  before_[0] = foretold_[0];
  for (size_t i = 0; i < foretold_.size(); ++i) {
    const int shift = i < kShifts.size() ? kShifts[i] : 0;
    const int64_t missed = miss_and_take(
        foretold_[i].data(), counts.tokens().data(), foretold_[i].size(), observed_ ? shift : 0);
    missed_[i] = observed_ ? missed_[i] - missed_[i] / kFading + missed : 0;
  }
  if (!observed_) {
    before_[0] = before_[1] = foretold_[0];
  }
  seen_ = observed_ ? seen_ - seen_ / kFading + counts.total() * int64_t{kFraction} : 0;
  observed_ = true;
  take_medians(foretold_[0].data(),
               before_[0].data(),
               before_[1].data(),
               foretold_[0].size(),
               foretold_[kMedian].data());
}

size_t LoadForecast::choose() const {
  const auto best = std::min_element(missed_.begin(), missed_.end()) - missed_.begin();
  return missed_[best] < missed_[0] / 5 * 4 ? best : 0;
}

int64_t LoadForecast::missed_of_late() const {
  // A token in another place is missed in two.
  return missed_[choose()] * 500 / std::max<int64_t>(seen_, 1);
}

void LoadForecast::foretell(NodeCounts& counts) const {
  counts.assign([&tokens = foretold_[choose()]](size_t cell) {
    return (tokens[cell] + kFraction / 2) / kFraction;
  });
}

void LoadForecast::save(std::vector<int64_t>& saved) const {
  saved.insert(saved.end(), {observed_ ? 1 : 0, seen_});
  saved.insert(saved.end(), missed_.begin(), missed_.end());
  for (const std::vector<int32_t>& tokens : foretold_) {
    saved.insert(saved.end(), tokens.begin(), tokens.end());
  }
  for (const std::vector<int32_t>& tokens : before_) {
    saved.insert(saved.end(), tokens.begin(), tokens.end());
  }
}

void LoadForecast::read(SavedNumbers& saved) {
  observed_ = saved.next(0, 1) == 1;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 1000;  // missed_of_late()
  seen_ = saved.next(0, kMost);
  for (int64_t& missed : missed_) {
    missed = saved.next(0, kMost);
  }
  const auto read_all = [&saved](auto& rows) {
    for (std::vector<int32_t>& row : rows) {
      for (int32_t& tokens : row) {
        tokens = static_cast<int32_t>(saved.next(0, int64_t{kMostTokens} * kFraction));
      }
    }
  };
  read_all(foretold_);
  read_all(before_);
}

}  // namespace enodia
