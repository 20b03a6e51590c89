#pragma once

#include "models/emulation.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// Opens what router.forced_counts and train.virtual_compute name. Local. Throws FileError, and
/// ConfigError where the recording is of other ranks or experts.
Emulation open_emulation(const TrainConfig& config, int world_size);

/// Throws ConfigError when a run that computes nothing is to go on from a checkpoint in its
/// directory. Local.
void refuse_to_resume_virtually(const TrainConfig& config);

}  // namespace enodia
