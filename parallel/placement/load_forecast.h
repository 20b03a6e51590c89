#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "parallel/placement/quota_solver.h"
#include "parallel/placement/saved_numbers.h"

namespace enodia {

/// Foretells the token copies of a layer's next micro-batch: those of the last, or an exponential
/// mean in which the last counts a half or an eighth, or the median of the last three, if it has
/// missed less than four fifths of what the last have missed (sums that fade by an eighth with each
/// micro-batch). Routing that moves is foretold best by the last micro-batch, one that is only
/// drawn anew by a long mean, one with bursts by the median. Integers; a node's tokens for an
/// expert count up to 2^26. Local.
class LoadForecast {
 public:
  LoadForecast(int num_nodes, int num_experts);

  void observe(const NodeCounts& counts);
  /// In the memory of other counts; of no tokens before anything was observed.
  void foretell(NodeCounts& counts) const;

  /// What part of the tokens was elsewhere of late, in thousandths.
  int64_t missed_of_late() const;
  /// Whether anything has been foretold yet, so that it could miss.
  bool is_tried() const { return seen_ > 0; }

  void save(std::vector<int64_t>& saved) const;
  /// Reads what save() wrote for as many nodes and experts.
  void read(SavedNumbers& saved);

 private:
  static constexpr std::array kShifts{0, 1, 3};  // the last micro-batch counts 1 / 2^shift

  static constexpr size_t kMedian = kShifts.size();

  size_t choose() const;

  bool observed_ = false;
  // In sixteenths of a token, [nodes, experts].
  std::array<std::vector<int32_t>, kShifts.size() + 1> foretold_;  // the means, the median
  std::array<std::vector<int32_t>, 2> before_;                     // the last
  std::array<int64_t, kShifts.size() + 1> missed_{};
  int64_t seen_ = 0;  // of all tokens, like what was missed of them
};

}  // namespace enodia
