#include "trainer/state/stored_model.h"

#include "checkpoint/native/folders.h"
#include "common/error.h"
#include "common/log.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

}  // namespace

fs::path find_checkpoint(const std::string& model) {
  const fs::path path(model);
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    throw FileError("there is no folder '" + model +
                    "'; MODEL is a run directory, its checkpoints folder or one step_N in it");
  }
  if (fs::exists(path / "manifest.json", ignored)) {
    return path;
  }
  const fs::path folder =
      fs::is_directory(path / "checkpoints", ignored) ? path / "checkpoints" : path;
  const FoundCheckpoint found = newest_checkpoint(folder);
  for (const std::string& sentence : found.skipped) {
    log_warning(sentence);
  }
  if (!found.path) {
    throw FileError("there is no whole checkpoint in " + folder.string() +
                    "; MODEL is a run directory, its checkpoints folder or one step_N in it");
  }
  return *found.path;
}

StoredModel open_stored_model(const std::string& model) {
  StoredModel stored{Checkpoint::open(find_checkpoint(model)), {}, {}, nullptr};
  const std::string source = (stored.checkpoint.folder() / "config.yaml").string();
  try {
    StoredConfig read = parse_stored_config(stored.checkpoint.attachment("config.yaml"), source);
    stored.config = std::move(read.config);
    stored.unknown_keys = std::move(read.unknown);
  } catch (const ConfigError& error) {
    throw FileError(std::string("the checkpoint's configuration cannot be used: ") + error.what());
  }
  stored.tokenizer = tokenizer_from_blob(stored.checkpoint.attachment("tokenizer.model"),
                                         (stored.checkpoint.folder() / "tokenizer.model").string());
  return stored;
}

}  // namespace enodia
