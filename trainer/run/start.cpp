#include "trainer/run/start.h"

#include <utility>

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

DataIdentity RunData::identity() const {
  DataIdentity identity;
  identity.tokenizer_hash = first().tokenizer_hash;
  std::string parts;
  for (size_t i = 0; i < sources.size(); ++i) {
    const IndexedDataset& dataset = sources[i].dataset;
    identity.documents += dataset.num_documents();
    identity.tokens += dataset.num_tokens();
    parts += dataset.fingerprint() + " " + std::to_string(blend.shares()[i]) + "\n";
  }
  identity.fingerprint =
      sources.size() == 1 ? first().dataset.fingerprint() : hash_of(parts.data(), parts.size());
  return identity;
}

RunData open_data(const TrainConfig& config) {
  const std::vector<DataSource>& train = config.data.train;
  std::vector<PreparedData> sources;
  std::vector<double> weights;
  for (const DataSource& source : train) {
    sources.push_back(open_prepared(source.prefix));
    weights.push_back(source.weight);
  }
  const PreparedData& first = sources.front();
  if (first.tokenizer == nullptr) {
    throw FileError("the tokenizer of " + train[0].prefix +
                    " is missing beside it; run enodia "
                    "prepare again");
  }
  const auto require_same_tokenizer = [&](const PreparedData& other, const std::string& prefix) {
    if (other.tokenizer_hash != first.tokenizer_hash) {
      throw FileError(prefix + " was prepared with another tokenizer than " + train[0].prefix +
                      "; prepare it with --tokenizer " +
                      (first.tokenizer->name() == "byte" ? "byte" : train[0].prefix + ".model"));
    }
  };
  for (size_t i = 1; i < sources.size(); ++i) {
    require_same_tokenizer(sources[i], train[i].prefix);
  }
  std::optional<PreparedData> valid;
  if (!config.data.valid.empty()) {
    valid.emplace(open_prepared(config.data.valid));
    require_same_tokenizer(*valid, config.data.valid);
  }
  return {std::move(sources), Blend(weights), std::move(valid)};
}

void resolve_vocab_size(TrainConfig& config, const RunData& data) {
  const int64_t needed = data.first().vocab_size;
  if (config.model.vocab_size == 0) {
    config.model.vocab_size = needed;
  } else if (config.model.vocab_size < needed) {
    throw_problems({{config.source_of("model.vocab_size").place(),
                     "model.vocab_size (" + std::to_string(config.model.vocab_size) +
                         ") is smaller than the tokenizer's of " + config.data.train[0].prefix +
                         " (" + std::to_string(needed) + "); set it to at least " +
                         std::to_string(needed) + ", or leave it out"}});
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
