#pragma once

#include <functional>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// Runs `body` once per rank, each on a thread of this process, with a loopback communicator.
/// `nodes[r]` is the node that rank r pretends to live on (empty: all on one). When a rank throws,
/// the others' operations throw CommError instead of waiting for ever; the first rank's exception
/// that was not such an echo is rethrown after all threads have ended.
///
/// Buffers on devices are copied through the table of `after`, which must be a queue of the device
/// (a UsageError otherwise), without blocking the host: start and end are in order with `after` and
/// with the queue given to Work::wait.
void run_loopback(int world_size,
                  const std::function<void(Communicator&)>& body,
                  std::vector<int> nodes = {});

/// A world of one, in the calling thread: what a command without mpirun trains on.
std::unique_ptr<Communicator> make_single_rank_communicator();

}  // namespace enodia
