#include "trainer/run/start.h"

#include <utility>

#include "checkpoint/native/folders.h"
#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "trainer/state/stored_model.h"

namespace enodia {
namespace {

/// Hash of this program's file; a rank that cannot read it says so, and differs from the others.
std::string program_hash() {
  try {
    const MappedFile program("/proc/self/exe");
    return hash_of(program.data(), static_cast<size_t>(program.size()));
  } catch (const FileError& error) {
    return error.what();
  }
}

/// Everything that must be the same on all ranks: every key, the data, and last the program.
std::vector<ConfigEntry> list_facts(const TrainConfig& config, const RunData& data) {
  std::vector<ConfigEntry> facts = list_entries(config);
  const DataIdentity train = data.identity();
  facts.push_back({"the content of data.train", train.tokenizer_hash + train.fingerprint});
  facts.push_back(
      {"the content of data.valid",
       data.valid ? data.valid->tokenizer_hash + data.valid->dataset.fingerprint() : "none"});
  facts.push_back({"the program", program_hash()});
  return facts;
}

Json to_json(const std::vector<ConfigEntry>& facts) {
  Json json = Json::array();
  for (const ConfigEntry& fact : facts) {
    json.push_back({fact.path, fact.value});
  }
  return json;
}

/// "another configuration than rank 0: train.steps is 8 and not 7", or nothing. A program with
/// another table of keys is another program, so that comes first.
std::string find_difference(const std::vector<ConfigEntry>& mine, const Json& first) {
  if (first.empty() || first.back().at(1) != mine.back().value) {
    return "another program than rank 0 (another build of enodia)";
  }
  for (size_t i = 0; i < mine.size(); ++i) {
    const std::string theirs = first.at(i).at(1).get<std::string>();
    if (mine[i].value != theirs) {
      return mine[i].path.starts_with("the content of ")
                 ? "other data than rank 0: " + mine[i].path + " differs"
                 : "another configuration than rank 0: " + mine[i].path + " is " + mine[i].value +
                       " and not " + theirs;
    }
  }
  return "";
}

}  // namespace

std::string read_config_file(const std::string& path) {
  try {
    return read_file(path, int64_t{1} << 20);
  } catch (const FileError& error) {
    throw ConfigError(std::string(error.what()) +
                      "; CONFIG is a YAML file of at most 1 MiB, such as configs/tiny.yaml");
  }
}

InitialModel find_initial_model(const TrainConfig& written, RunStart start) {
  const std::filesystem::path checkpoints = std::filesystem::path(written.run.dir) / "checkpoints";
  const bool goes_on =
      start == RunStart::kResume && newest_checkpoint(checkpoints).path.has_value();
  const StoredModel model = open_stored_model(goes_on ? checkpoints.string() : written.train.init);
  return {model.config.model, model.config.router};
}

TrainConfig read_config(Communicator& world,
                        const std::string& path,
                        const std::vector<std::string>& overrides,
                        RunStart start,
                        const PartNames& parts) {
  std::string text;
  run_together(world, [&] {
    if (world.rank() == 0) {
      text = read_config_file(path);
    }
  });
  text = broadcast_text(world, text, 0);
  TrainConfig config;
  run_together(world, [&] {
    config = parse_train_config(
        text, path, overrides, world.world_size(), parts, [&](const TrainConfig& written) {
          return find_initial_model(written, start);
        });
  });
  return config;
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
  } else if (config.model.vocab_size < needed && !config.train.init.empty()) {
    throw ConfigError("the model of train.init (" + config.train.init + ") has a vocabulary of " +
                      std::to_string(config.model.vocab_size) + ", but the tokenizer of " +
                      config.data.train[0].prefix + " has one of " + std::to_string(needed) +
                      "; prepare the data with the model's own: enodia prepare --tokenizer ...");
  } else if (config.model.vocab_size < needed) {
    throw_problems({{config.source_of("model.vocab_size").place(),
                     "model.vocab_size (" + std::to_string(config.model.vocab_size) +
                         ") is smaller than the tokenizer's of " + config.data.train[0].prefix +
                         " (" + std::to_string(needed) + "); set it to at least " +
                         std::to_string(needed) + ", or leave it out"}});
  }
}

void check_agreement(Communicator& world, const TrainConfig& config, const RunData& data) {
  const std::vector<ConfigEntry> mine = list_facts(config, data);
  const Json first = parse_json(broadcast_text(world, to_json(mine).dump(), 0), "rank 0's values");
  const std::vector<std::string> complaints = all_gather_text(world, find_difference(mine, first));
  for (size_t rank = 0; rank < complaints.size(); ++rank) {
    if (!complaints[rank].empty()) {
      throw SharedError("rank " + std::to_string(rank) + " has " + complaints[rank] +
                            "; start all ranks with the same program, arguments and files",
                        ExitCode::kConfig);
    }
  }
}

SectionTimeouts section_timeouts(const RunOptions& run) {
  SectionTimeouts timeouts;
  const auto set = [&](RunSection section, int64_t chosen, int64_t automatic) {
    timeouts[section] = std::chrono::seconds(run.timeout_s == 0 ? 0
                                             : chosen == 0      ? automatic
                                                                : chosen);
  };
  set(RunSection::kStart, run.start_timeout_s, 4 * run.timeout_s);
  set(RunSection::kFirstStep, run.first_step_timeout_s, 4 * run.timeout_s);
  set(RunSection::kStep, run.timeout_s, run.timeout_s);
  set(RunSection::kSave, run.save_timeout_s, 4 * run.timeout_s);
  set(RunSection::kEval, run.eval_timeout_s, run.timeout_s);
  set(RunSection::kEnd, run.start_timeout_s, 4 * run.timeout_s);
  return timeouts;
}

}  // namespace enodia
