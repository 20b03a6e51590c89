#include "trainer/state/stored_model.h"

#include <algorithm>
#include <utility>

#include "checkpoint/hf/hf_folder.h"
#include "checkpoint/native/folders.h"
#include "checkpoint/native/native_weights.h"
#include "common/error.h"
#include "common/log.h"
#include "trainer/state/imported_model.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhatModelIs =
    "MODEL is a run directory, its checkpoints folder, one step_N in it, or a Hugging Face folder";

StoredModel open_hf_folder(const fs::path& path) {
  auto folder = std::make_unique<const HfFolder>(path);
  StoredModel stored;
  stored.folder = path;
  stored.config = config_of(folder->config(), (path / "config.json").string());
  stored.token_ids = folder->config().token_ids;
  stored.stop_ids = stored.token_ids.eos;
  const HfGeneration& generation = folder->generation();
  stored.stop_ids.insert(stored.stop_ids.end(), generation.eos.begin(), generation.eos.end());
  stored.hf_sampling = generation.sampling;
  stored.hf_family = name_of(*folder->config().family);
  stored.weights = std::move(folder);
  stored.tokenizer = find_folder_tokenizer(path);
  return stored;
}

void read_config(StoredModel& stored) {
  const std::string source = (stored.folder / "config.yaml").string();
  try {
    StoredConfig read = parse_stored_config(stored.checkpoint->attachment("config.yaml"), source);
    stored.config = std::move(read.config);
    stored.unknown_keys = std::move(read.unknown);
  } catch (const ConfigError& error) {
    throw FileError(std::string("the checkpoint's configuration cannot be used: ") + error.what());
  }
}

StoredModel open_native(const fs::path& path) {
  StoredModel stored;
  stored.checkpoint = std::make_unique<const Checkpoint>(Checkpoint::open(path));
  stored.folder = stored.checkpoint->folder();
  stored.weights = std::make_unique<const NativeWeights>(*stored.checkpoint);
  read_config(stored);
  constexpr const char* kTokenizer = "tokenizer.model";
  if (stored.checkpoint->has_attachment(kTokenizer)) {
    stored.tokenizer = tokenizer_from_blob(stored.checkpoint->attachment(kTokenizer),
                                           (stored.folder / kTokenizer).string());
  }
  stored.token_ids = token_ids_of(*stored.checkpoint, stored.tokenizer.get());
  stored.stop_ids = stored.token_ids.eos;
  return stored;
}

}  // namespace

int64_t StoredModel::context_length() const {
  return config.train.sequence_length > 0
             ? config.train.sequence_length
             : std::min(config.model.max_position_embeddings, kMaxContext);
}

const Tokenizer& StoredModel::require_tokenizer() const {
  if (tokenizer == nullptr) {
    throw FileError(folder.string() +
                    " came without a tokenizer, so it knows token ids but no text; put the "
                    "tokenizer.json of the model into its Hugging Face folder");
  }
  return *tokenizer;
}

fs::path find_checkpoint(const std::string& model) {
  const fs::path path(model);
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    throw FileError("there is no folder '" + model + "'; " + kWhatModelIs);
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
    throw FileError("there is no whole checkpoint in " + folder.string() + "; " + kWhatModelIs);
  }
  return *found.path;
}

StoredModel open_stored_model(const std::string& model) {
  return is_hf_folder(model) ? open_hf_folder(model) : open_native(find_checkpoint(model));
}

void check_same_tokenizer(const StoredModel& model,
                          const std::string& tokenizer_hash,
                          const std::string& prefix) {
  if (model.tokenizer != nullptr && tokenizer_hash != model.tokenizer->hash()) {
    throw FileError(prefix + " was prepared with another tokenizer than that of " +
                    model.folder.string() + "; prepare it with --tokenizer and the model's");
  }
}

}  // namespace enodia
