#include "trainer/state/resume.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/native/commit.h"
#include "checkpoint/native/folders.h"
#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/log.h"
#include "trainer/state/stored_model.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// A change of these makes another run of it.
bool must_stay(std::string_view path) {
  constexpr std::array<std::string_view, 4> kPaths{
      "data.order", "run.seed", "train.sequence_length", "train.global_batch_size"};
  return path.starts_with("model.") ||
         std::find(kPaths.begin(), kPaths.end(), path) != kPaths.end();
}

/// Lists what differs; throws when something differs that must stay.
void compare_configs(const TrainConfig& stored, const TrainConfig& wanted, bool speaks) {
  std::map<std::string, std::string> before;
  for (const ConfigEntry& entry : list_entries(stored)) {
    before[entry.path] = entry.value;
  }
  std::string refused;
  std::vector<std::string> changes;
  for (const ConfigEntry& entry : list_entries(wanted)) {
    const std::string change = entry.path + ": " + before[entry.path] + " -> " + entry.value;
    if (before[entry.path] == entry.value) {
      continue;
    }
    if (must_stay(entry.path)) {
      refused += "\n  " + change;
    } else {
      changes.push_back(change);
    }
  }
  if (!refused.empty()) {
    throw ConfigError("the checkpoint in " + wanted.run.dir +
                      " was trained with another model, data or seed:" + refused +
                      "\ntrain in another folder (--set run.dir=...) or restore the values");
  }
  for (const std::string& change : changes) {
    if (speaks) {
      log_info("resuming with another " + change);
    }
  }
}

/// data.train as it would be written.
std::string training_data_of(const TrainConfig& config) {
  for (const ConfigEntry& entry : list_entries(config)) {
    if (entry.path == "data.train") {
      return entry.value;
    }
  }
  return "";
}

void compare_data(const DataIdentity& stored,
                  const DataIdentity& wanted,
                  const std::string& stored_name,
                  const std::string& wanted_name) {
  if (stored.tokenizer_hash != wanted.tokenizer_hash || stored.fingerprint != wanted.fingerprint ||
      stored.documents != wanted.documents || stored.tokens != wanted.tokens) {
    throw ConfigError("the training data " + wanted_name +
                      " is not what the checkpoint was trained on, " + stored_name + " (" +
                      std::to_string(stored.documents) + " documents, " +
                      std::to_string(stored.tokens) + " tokens then, " +
                      std::to_string(wanted.documents) + " and " + std::to_string(wanted.tokens) +
                      " now, or other tokens, weights or another tokenizer); restore it or train "
                      "in another folder (--set run.dir=...)");
  }
}

/// The newest whole checkpoint before step `below`. Rank 0 chooses, so that ranks that see a shared
/// folder at different moments agree.
std::optional<fs::path> choose_checkpoint(const ProcessMesh& mesh,
                                          const fs::path& folder,
                                          std::optional<int64_t> below) {
  std::string chosen;
  run_together(mesh.control(), [&] {
    if (mesh.rank() == 0) {
      check_writable(folder);
      const FoundCheckpoint found = newest_checkpoint(folder, below);
      for (const std::string& sentence : found.skipped) {
        log_warning(sentence);
      }
      if (!found.path && (below || !found.skipped.empty())) {
        throw FileError("none of the checkpoints in " + folder.string() +
                        " is whole; restore one, or train in another folder (--set run.dir=...)");
      }
      chosen = found.path ? found.path->string() : "";
    }
  });
  chosen = broadcast_text(mesh.control(), chosen, 0);
  return chosen.empty() ? std::nullopt : std::optional<fs::path>(chosen);
}

/// Loads one checkpoint on all ranks. Throws SharedError.
TrainingProgress load_checkpoint(const fs::path& path,
                                 const ProcessMesh& mesh,
                                 const TrainConfig& config,
                                 const DataIdentity& data,
                                 const Decoder& decoder) {
  TrainingProgress progress;
  run_together(mesh.control(), [&] {
    const StoredModel stored = open_stored_model(path.string());
    compare_configs(stored.config, config, mesh.rank() == 0);
    compare_data(data_of(stored.checkpoint),
                 data,
                 training_data_of(stored.config),
                 training_data_of(config));
    progress = progress_of(stored.checkpoint);
    load_state(stored.checkpoint, decoder.registry(), LoadColumns::kAll);
  });
  if (mesh.rank() == 0) {
    log_info("resumed from " + path.string() + " after step " + std::to_string(progress.step));
  }
  return progress;
}

}  // namespace

int64_t resume_or_initialize(const ProcessMesh& mesh,
                             const TrainConfig& config,
                             const DataIdentity& data,
                             const fs::path& folder,
                             Decoder& decoder,
                             AdamW& optimizer) {
  std::optional<int64_t> below;
  while (const std::optional<fs::path> path = choose_checkpoint(mesh, folder, below)) {
    try {
      const TrainingProgress progress = load_checkpoint(*path, mesh, config, data, decoder);
      optimizer.set_steps(progress.optimizer_steps);
      decoder.commit_step();
      return progress.step;
    } catch (const SharedError& error) {
      if (error.exit_code() != ExitCode::kFile) {
        throw;
      }
      // Damage that only the checksums show: an older one serves, and overwrites what was read.
      below = step_of_folder(path->stem().string());
      if (mesh.rank() == 0) {
        log_warning(error.what());
      }
    }
  }
  decoder.initialize(static_cast<uint64_t>(config.run.seed));
  return 0;
}

}  // namespace enodia
