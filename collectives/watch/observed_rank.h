#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "collectives/watch/process_state.h"
#include "collectives/watch/status_board.h"

namespace enodia {

/// A rank as a watchdog of its node finds it.
struct ObservedRank {
  RankStatus status;
  ProcessState process = ProcessState::kRuns;
};

/// A node as one of its ranks tells a rank of another node.
struct ObservedNode {
  int node = 0;
  std::vector<ObservedRank> ranks;  ///< empty: no rank of it has answered
};

/// The ranks of the caller's node, by slot. Local.
std::vector<ObservedRank> observe(const StatusBoard& board);

/// As numbers that travel between ranks of one program, and back; empty if they are no such
/// numbers.
std::vector<int64_t> to_numbers(std::span<const ObservedRank> ranks);
std::vector<ObservedRank> observed_ranks(std::span<const int64_t> numbers);

}  // namespace enodia
