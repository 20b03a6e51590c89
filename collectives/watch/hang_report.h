#pragma once

#include <span>
#include <string>
#include <vector>

#include "collectives/watch/process_state.h"
#include "collectives/watch/status_board.h"

namespace enodia {

/// A rank of the node as the watchdog of another one finds it.
struct ObservedRank {
  RankStatus status;
  ProcessState process = ProcessState::kRuns;
};

/// What is known of a job in which nothing moves: `ranks` are those of one node, `ranks[reporter]`
/// has been silent for `seconds`; `nodes` says where each rank of the world lives. A headline, then
/// a line a rank, those first that are stopped or have not arrived where others wait; no end of
/// line at the end.
std::string hang_report(std::span<const ObservedRank> ranks,
                        size_t reporter,
                        int64_t seconds,
                        std::span<const int> nodes);

}  // namespace enodia
