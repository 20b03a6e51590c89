#pragma once

#include <cstdint>
#include <optional>

#include "collectives/communicator.h"
#include "trainer/config/train_config.h"
#include "trainer/run/run_lock.h"

namespace enodia {

/// Which directory a job trains in when the one it was told holds a run already.
enum class RunStart : uint8_t { kResume, kFresh };

/// Rank 0 takes the run directory for this job and holds its lock in what is returned; the other
/// ranks hold nothing. With kFresh, when the directory holds a run, it is the first of run.dir-2,
/// run.dir-3, ... that is free, also when other jobs choose at the same moment, and becomes
/// config.run.dir on all ranks. Nothing is ever deleted, and a directory that was not taken is left
/// as it was. Collective. Throws SharedError: with exit code 2 when another job has the directory,
/// naming it, and 4 when it cannot be made.
std::optional<RunLock> claim_run_directory(Communicator& world,
                                           TrainConfig& config,
                                           RunStart start);

}  // namespace enodia
