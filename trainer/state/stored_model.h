#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/hf/hf_config.h"
#include "checkpoint/native/checkpoint.h"
#include "checkpoint/weight_source.h"
#include "trainer/config/train_config.h"
#include "trainer/data/tokenizer.h"

namespace enodia {

/// What a MODEL argument names, opened for reading: a native checkpoint or a Hugging Face folder.
/// Local.
struct StoredModel {
  std::filesystem::path folder;  ///< of the checkpoint, or the Hugging Face folder itself
  /// That it was trained with (vocab_size resolved); of an imported model and of a Hugging Face
  /// folder the sections model and router alone.
  TrainConfig config;
  std::vector<ConfigEntry> unknown_keys;  ///< stored by another version, without a meaning here
  std::unique_ptr<const WeightSource> weights;
  std::unique_ptr<const Tokenizer> tokenizer;  ///< null when it came without one
  HfTokenIds token_ids;
  std::vector<int64_t> stop_ids;  ///< generated text ends at any of these
  /// Null for a Hugging Face folder.
  std::unique_ptr<const Checkpoint> checkpoint;
  std::string hf_family;                 ///< of a Hugging Face folder: "mixtral"
  std::vector<std::string> hf_sampling;  ///< keys of its generation_config.json: "temperature"

  /// Tokens in a window of text: those of the sequences it was trained on, or when that is not
  /// known the longest it is meant for, at most kMaxContext.
  int64_t context_length() const;
  static constexpr int64_t kMaxContext = 2048;

  /// Throws FileError that says what to do when the model came without a tokenizer.
  const Tokenizer& require_tokenizer() const;
};

/// The folder of the checkpoint that `model` names: a step_N folder itself, a folder of checkpoints
/// or a run directory (then the newest whole one). Broken newer ones are reported as warnings on
/// rank 0. Throws FileError that says what was looked for.
std::filesystem::path find_checkpoint(const std::string& model);

/// Opens a Hugging Face folder (it holds a config.json), else what find_checkpoint finds. Throws
/// FileError.
StoredModel open_stored_model(const std::string& model);

/// Throws FileError when the data PREFIX was made with another tokenizer than the model's. A model
/// that came without one takes any.
void check_same_tokenizer(const StoredModel& model,
                          const std::string& tokenizer_hash,
                          const std::string& prefix);

}  // namespace enodia
