#include "trainer/run/start.h"

#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/file.h"
#include "common/hash.h"

namespace enodia {

std::string read_config_file(const std::string& path) {
  try {
    return read_file(path, int64_t{1} << 20);
  } catch (const FileError& error) {
    throw ConfigError(std::string(error.what()) +
                      "; CONFIG is a YAML file of at most 1 MiB, such as configs/tiny.yaml");
  }
}

TrainConfig read_config(Communicator& world,
                        const std::string& path,
                        const std::vector<std::string>& overrides) {
  std::string text;
  run_together(world, [&] {
    if (world.rank() == 0) {
      text = read_config_file(path);
    }
  });
  return parse_train_config(broadcast_text(world, text, 0), path, overrides, world.world_size());
}

RunData open_data(const TrainConfig& config) {
  RunData data{open_prepared(config.data.train), std::nullopt};
  if (data.train.tokenizer == nullptr) {
    throw FileError("the tokenizer of " + config.data.train +
                    " is missing beside it; run enodia "
                    "prepare again");
  }
  if (!config.data.valid.empty()) {
    data.valid.emplace(open_prepared(config.data.valid));
    if (data.valid->tokenizer_hash != data.train.tokenizer_hash) {
      throw FileError(
          config.data.valid + " was prepared with another tokenizer than " + config.data.train +
          "; prepare it with --tokenizer " +
          (data.train.tokenizer->name() == "byte" ? "byte" : config.data.train + ".model"));
    }
  }
  return data;
}

void resolve_vocab_size(TrainConfig& config, const PreparedData& data) {
  if (config.model.vocab_size == 0) {
    config.model.vocab_size = data.vocab_size;
  } else if (config.model.vocab_size < data.vocab_size) {
    throw ConfigError("model.vocab_size (" + std::to_string(config.model.vocab_size) +
                      ") is smaller than the tokenizer's of " + config.data.train + " (" +
                      std::to_string(data.vocab_size) + "); leave it out or raise it");
  }
}

void check_agreement(Communicator& world, const TrainConfig& config, const DataIdentity& data) {
  std::string mine;
  for (const ConfigEntry& entry : list_entries(config)) {
    mine += entry.path + ": " + entry.value + "\n";
  }
  mine += data.tokenizer_hash + data.fingerprint + std::to_string(data.tokens);
  const std::vector<std::string> hashes = all_gather_text(world, hash_of(mine.data(), mine.size()));
  for (size_t rank = 1; rank < hashes.size(); ++rank) {
    if (hashes[rank] != hashes[0]) {
      throw SharedError("rank " + std::to_string(rank) +
                            " has another configuration or other training data than rank 0; start "
                            "all ranks with the same arguments and the same files",
                        ExitCode::kConfig);
    }
  }
}

}  // namespace enodia
