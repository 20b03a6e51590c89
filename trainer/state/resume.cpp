#include "trainer/state/resume.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/native/commit.h"
#include "checkpoint/native/folders.h"
#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/log.h"
#include "trainer/config/differences.h"
#include "trainer/state/placement_state.h"
#include "trainer/state/stored_model.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// data.train as it would be written.
std::string training_data_of(const TrainConfig& config) {
  for (const ConfigEntry& entry : list_entries(config)) {
    if (entry.path == "data.train") {
      return entry.value;
    }
  }
  return "";
}

/// What differs between a checkpoint and the run that goes on from it.
std::vector<ConfigChange> list_differences(const StoredModel& stored,
                                           const TrainConfig& config,
                                           const DataIdentity& data,
                                           const SavedLayout& layout) {
  std::vector<ConfigChange> changes = list_changes(stored.config, stored.unknown_keys, config);
  const DataIdentity before = data_of(*stored.checkpoint);
  if (before == data) {
    for (ConfigChange& change : changes) {
      change.text += change.path == "data.train" ? ", with the same content" : "";
    }
  } else {
    changes.push_back({"data.train",
                       detail::concat("data.train: ",
                                      training_data_of(config),
                                      " does not hold what the checkpoint was trained on, ",
                                      training_data_of(stored.config),
                                      " (",
                                      before.documents,
                                      " documents, ",
                                      before.tokens,
                                      " tokens then, ",
                                      data.documents,
                                      " and ",
                                      data.tokens,
                                      " now, or other tokens, weights or another tokenizer)"),
                       false});
  }
  const SavedLayout then = layout_of(*stored.checkpoint).value_or(layout);
  if (then != layout) {
    changes.push_back(
        {"",
         detail::concat(
             "ranks: ",
             then.dp * then.tp,
             " -> ",
             layout.dp * layout.tp,
             then.tp == layout.tp
                 ? ""
                 : detail::concat(", sharing a micro-batch: ", then.tp, " -> ", layout.tp),
             ", sharing the experts of a layer: ",
             then.ep,
             " -> ",
             layout.ep),
         true});
  }
  return changes;
}

std::string list_texts(const std::vector<ConfigChange>& changes) {
  std::string text;
  for (const ConfigChange& change : changes) {
    text += "\n  " + change.text;
  }
  return text;
}

void refuse_other_run(std::vector<ConfigChange> changes, const std::string& directory) {
  std::erase_if(changes, [](const ConfigChange& change) { return change.allowed; });
  if (!changes.empty()) {
    throw ConfigError("the run in " + directory +
                      " cannot go on with another model, data or seed:" + list_texts(changes) +
                      "\nrestore what it was, or train in another folder (--fresh, or --set "
                      "run.dir=...)");
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
  std::vector<ConfigChange> changes;
  run_together(mesh.control(), [&] {
    const StoredModel stored = open_stored_model(path.string());
    changes = list_differences(
        stored, config, data, {mesh.layout().dp, mesh.layout().tp, mesh.layout().ep});
    refuse_other_run(changes, config.run.dir);
    progress = progress_of(*stored.checkpoint);
    load_state(*stored.checkpoint, decoder.registry());
  });
  if (mesh.rank() == 0) {
    const std::string count =
        changes.empty()
            ? ""
            : detail::concat(
                  " with ", changes.size(), changes.size() == 1 ? " change:" : " changes:");
    log_info("resumed from " + path.string() + " after step " + std::to_string(progress.step) +
             count + list_texts(changes));
  }
  return progress;
}

/// Where placement stood: the owners of experts on as many ranks, the policy if it is the same, and
/// the load so far. Throws SharedError. Collective.
void resume_placement(const fs::path& path,
                      const ProcessMesh& mesh,
                      const TrainConfig& config,
                      Decoder& decoder) {
  const PlacementOptions options = config.placement_options(mesh.world_size());
  if (decoder.planner() == nullptr) {
    return;
  }
  StoredPlacement stored;
  run_together(mesh.control(), [&] {
    stored = read_placement(Checkpoint::open(path), options, mesh.world_size(), decoder);
  });
  if (stored.owners) {
    decoder.move_owners(*stored.owners);
  }
  const std::string on_ranks = " on " + std::to_string(mesh.world_size()) + " ranks";
  const bool plans_on = stored.policy && decoder.planner()->restore(*stored.policy);
  if (options.policy != nullptr && !plans_on && mesh.rank() == 0) {
    log_info("placement.policy " + std::string(options.policy->name) +
             " starts without history: the checkpoint has none of such a policy" + on_ranks);
  }
  if (stored.loads) {
    decoder.planner()->restore_history(*stored.loads);
  }
  if (options.reshard_interval > 0 && !stored.owners && mesh.rank() == 0) {
    log_info(
        "experts start with the first owners that they have in a new run: the checkpoint has "
        "none" +
        on_ranks);
  }
}

/// What this rank has read for itself that other ranks have too.
std::string hash_of_masters(const DenseTable& table) {
  Hasher hasher;
  const at::Tensor masters = table.columns->column("master").to(at::kCPU);
  hasher.update(masters.const_data_ptr(), static_cast<size_t>(masters.nbytes()));
  return hasher.hex();
}

/// Whether all ranks that hold the same parameters have read the same.
bool have_read_the_same(const ProcessMesh& mesh, const ParameterRegistry& registry) {
  int64_t same = 1;
  for (const DenseTable& table : registry.dense_tables()) {
    if (registry.sharding().zero1 != Zero1::kOff && table.weights != "master") {
      continue;  // each rank reads rows of its own
    }
    const std::vector<std::string> hashes =
        all_gather_text(mesh.gradients(table.holders), hash_of_masters(table));
    same = same != 0 && std::all_of(hashes.begin(), hashes.end(), [&](const auto& hash) {
             return hash == hashes.front();
           });
  }
  return all_reduce_value(mesh.control(), same, ReduceOp::kMin) != 0;
}

/// The weights of train.init, which must be the same files to every rank. Throws SharedError.
void start_from_model(const ProcessMesh& mesh,
                      const TrainConfig& config,
                      const DataIdentity& data,
                      const Decoder& decoder) {
  run_together(mesh.control(), [&] {
    const StoredModel stored = open_stored_model(config.train.init);
    check_same_tokenizer(stored, data.tokenizer_hash, config.data.train[0].prefix);
    load_weights(*stored.weights, decoder.registry());
    if (mesh.rank() == 0) {
      log_info("starts from the weights of " + stored.folder.string() +
               (stored.tokenizer == nullptr ? ", which came without a tokenizer" : ""));
    }
  });
  if (!have_read_the_same(mesh, decoder.registry())) {
    throw SharedError("the ranks have read different weights from train.init (" +
                          config.train.init + "); give all of them the same files",
                      ExitCode::kFile);
  }
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
      resume_placement(*path, mesh, config, decoder);
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
  if (config.train.init.empty()) {
    decoder.initialize(static_cast<uint64_t>(config.run.seed));
  } else {
    start_from_model(mesh, config, data, decoder);
    decoder.commit_step();
  }
  return 0;
}

}  // namespace enodia
