#pragma once

#include <cstdint>
#include <filesystem>

#include "models/decoder.h"
#include "optim/adamw.h"
#include "parallel/mesh.h"
#include "trainer/config/train_config.h"
#include "trainer/state/state_snapshot.h"

namespace enodia {

/// Continues from the newest whole checkpoint in `folder` (a damaged one is skipped with a warning
/// for the next older). When there is none at all (FileError when there are only broken ones:
/// starting over would cut the metrics of what they held) it starts with the weights of train.init,
/// or with fresh ones. Returns the number of steps done. Everything in which this run differs from
/// the checkpoint (values, data path, number of ranks) is listed once in the log; another model,
/// data (by content, not by path), order, seed, sequence length or batch size is refused
/// (SharedError with code 2): the samples already seen would not be the same. Also checks that
/// `folder` can be written. Collective.
int64_t resume_or_initialize(const ProcessMesh& mesh,
                             const TrainConfig& config,
                             const DataIdentity& data,
                             const std::filesystem::path& folder,
                             Decoder& decoder,
                             AdamW& optimizer);

}  // namespace enodia
