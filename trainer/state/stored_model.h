#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/native/checkpoint.h"
#include "trainer/config/train_config.h"
#include "trainer/data/tokenizer.h"

namespace enodia {

/// What a command's MODEL argument names, opened for reading: the checkpoint, the configuration it
/// was trained with (vocab_size resolved) and its tokenizer. Local.
struct StoredModel {
  Checkpoint checkpoint;
  TrainConfig config;
  std::vector<ConfigEntry> unknown_keys;  ///< stored by another version, without a meaning here
  std::unique_ptr<Tokenizer> tokenizer;
};

/// The folder of the checkpoint that `model` names: a step_N folder itself, a folder of checkpoints
/// or a run directory (then the newest whole one). Broken newer ones are reported as warnings on
/// rank 0. Throws FileError that says what was looked for.
std::filesystem::path find_checkpoint(const std::string& model);

/// Throws FileError.
StoredModel open_stored_model(const std::string& model);

}  // namespace enodia
