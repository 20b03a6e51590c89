#pragma once

#include <span>
#include <string>

#include "collectives/watch/observed_rank.h"

namespace enodia {

/// What is known of a job in which nothing moves: `ranks` are those of one node, `ranks[reporter]`
/// has been silent for `seconds`; `nodes` says where each rank of the world lives; `elsewhere` are
/// the other nodes, if they have been asked. A headline, then a line for each rank of the node and
/// for those of other nodes that are missing, those first that are stopped or have not arrived
/// where others wait; no end of line at the end.
std::string hang_report(std::span<const ObservedRank> ranks,
                        size_t reporter,
                        int64_t seconds,
                        std::span<const int> nodes,
                        std::span<const ObservedNode> elsewhere = {});

}  // namespace enodia
