#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace enodia {

/// Says from which of k sources sample i comes, and how many samples of that source come before it:
/// a pure function of (weights, i) in constant time, so any start and any layout see the same
/// samples.
///
/// Weights become integer shares of a cycle of samples that repeats: the smallest cycle in which
/// the shares are exact, or, when there is none of up to 2^20 samples, one of 2^20 in which they
/// are rounded by less than a millionth. Inside it a source's j-th sample may come as soon as the
/// source is not ahead by a whole sample, and must come before it is behind by one; of those that
/// may come the one that must come first does. So after any n samples a source's count differs from
/// n times its share by less than 1 (earliest deadline first: Steiner and Yeomans, Management
/// Science 39, 1993; picking the source that is furthest behind, as data sets are often blended,
/// keeps no such promise for many sources).
class Blend {
 public:
  static constexpr int64_t kMaxSources = 256;
  /// The smallest share of a weight in their sum.
  static constexpr double kSmallestShare = 1e-6;

  /// 1 to kMaxSources weights above 0. Throws UsageError for others.
  explicit Blend(std::span<const double> weights);

  struct Place {
    int64_t source;
    int64_t number;  ///< of the sample within its source, from 0
    bool operator==(const Place&) const = default;
  };
  Place place(int64_t sample) const;

  /// Samples of each source in a cycle.
  std::span<const int64_t> shares() const { return shares_; }
  int64_t cycle() const { return static_cast<int64_t>(slots_.size()); }

 private:
  struct Slot {
    int32_t source;
    int32_t number;
  };
  std::vector<int64_t> shares_;
  std::vector<Slot> slots_;  ///< the first cycle
};

}  // namespace enodia
