#pragma once

#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// The exchanges in which each rank's buffers reach all others; parts[rank] lists those of a rank,
/// the own ones to send and room for what the others have. All ranks name as many buffers of equal
/// sizes. On several nodes a buffer goes to one rank of each other node, which passes it on inside
/// in a second round, so that it crosses to a node once; all at once where one node holds all
/// ranks, no node holds two, or a rank's buffers are too small to gain by it. Local.
std::vector<ExchangeRound> sharing_rounds(const Communicator& communicator,
                                          const std::vector<std::vector<Buffer>>& parts);

}  // namespace enodia
