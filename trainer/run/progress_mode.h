#pragma once

#include <memory>

#include "collectives/communicator.h"
#include "collectives/progress/communication_thread.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// The thread that `run.progress` asks for, or null for none; the same choice on every rank: both
/// sides of a message must cut it into the same chunks. `auto` takes a thread where every rank has
/// a core for its compute and one for its communication. Messages between GPUs need none.
/// Collective.
std::unique_ptr<CommunicationThread> start_communication_thread(
    Communicator& world, const RunOptions& run, const CommunicationThread::Options& options = {});

}  // namespace enodia
