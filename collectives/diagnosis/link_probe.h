#pragma once

#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// What was measured between two ranks, low < high.
struct Link {
  int low = 0, high = 0;
  double latency_us = 0.0;   ///< half the median round trip of 8 bytes
  double quickest_us = 0.0;  ///< half the shortest: what a busy machine does not blur
  double up_mbit = 0.0;      ///< low to high, 10^6 bits a second
  double down_mbit = 0.0;    ///< high to low
};

struct LinkProbeOptions {
  double seconds = 20.0;    ///< for all pairs together, roughly; a pair gets 20 ms to 1 s
  bool concurrent = false;  ///< pairs that share no node are measured at the same time
  /// Rank 0, before each round: rounds done, rounds in all, and the pairs of this round.
  std::function<void(size_t, size_t, std::span<const std::pair<int, int>>)> progress = {};
};

/// Measures latency and bandwidth between every two ranks, one stream at a time, and links that
/// look bad twice more: their best values count, because noise only ever slows a link down. Ranks
/// that are not being measured sleep. Clocks of different ranks are never compared. Collective;
/// rank 0 gets the links in order of (low, high), the others none. Throws CommError.
std::vector<Link> measure_links(Communicator& communicator, const LinkProbeOptions& options);

/// All pairs of ranks, in rounds. With `concurrent`, a node is in at most one pair of a round;
/// otherwise a round is one pair.
std::vector<std::vector<std::pair<int, int>>> schedule_pairs(std::span<const int> nodes,
                                                             bool concurrent);

/// Links whose figures are those of the better of two measurements.
Link better_of(const Link& a, const Link& b);

}  // namespace enodia
