#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/native/checkpoint.h"
#include "checkpoint/native/save.h"
#include "checkpoint/weight_source.h"
#include "collectives/communicator.h"
#include "models/decoder.h"
#include "optim/adamw.h"

namespace enodia {

/// Where a run stands, besides its tensors. Everything else about a step follows from it.
struct TrainingProgress {
  int64_t step = 0;              ///< steps done
  int64_t consumed_samples = 0;  ///< sequences seen
  int64_t optimizer_steps = 0;   ///< updates made; skipped steps do not count
  bool operator==(const TrainingProgress&) const = default;
};

/// What training data a checkpoint belongs to.
struct DataIdentity {
  std::string tokenizer_hash;
  /// IndexedDataset::fingerprint(), or of a blend the hash of all sources' and their shares.
  std::string fingerprint;
  int64_t documents = 0, tokens = 0;  ///< of all sources
  bool operator==(const DataIdentity&) const = default;
};

/// On how many ranks, and in what layout, a state was saved. It has no part in what the state
/// means.
struct SavedLayout {
  int dp = 0;  ///< dp * tp is the number of ranks
  int tp = 1;
  int ep = 0;
  bool operator==(const SavedLayout&) const = default;
};

/// Shards and the host memory that they are in.
struct SavedShards {
  std::vector<Shard> shards;
  std::vector<at::Tensor> memory;
};

/// The one producer of a training state's shards: column C of parameter P is the tensor "C/P", for
/// the columns master, exp_avg and exp_avg_sq. What is held by several
/// ranks is saved by its owner, global names, shapes and boxes only, so that any number of ranks
/// can read it back. What lies on a device is copied to the host, all of it at once.
SavedShards shards_to_save(const ParameterRegistry& registry);

/// Saves the state into folder/step_N. Collective; throws SharedError with save_checkpoint's text.
void save_state(Communicator& communicator,
                const std::filesystem::path& folder,
                const ParameterRegistry& registry,
                const TrainingProgress& progress,
                const DataIdentity& data,
                const SavedLayout& layout,
                const std::vector<Attachment>& attachments,
                const SaveOptions& options = {});

/// Fills what this rank keeps of masters and moments (dense and owned experts). Local: reads files;
/// call Decoder::commit_step afterwards. Throws FileError when a tensor is missing, differs in
/// shape, or is damaged.
void load_state(const Checkpoint& checkpoint, const ParameterRegistry& registry);
/// The same of the masters alone, from any kind of model.
void load_weights(const WeightSource& weights, const ParameterRegistry& registry);

/// The progress and the data that a checkpoint's document names. Throws FileError.
TrainingProgress progress_of(const Checkpoint& checkpoint);
DataIdentity data_of(const Checkpoint& checkpoint);
/// Nothing for a checkpoint that does not tell.
std::optional<SavedLayout> layout_of(const Checkpoint& checkpoint);

}  // namespace enodia
