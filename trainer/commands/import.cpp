#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include "checkpoint/hf/hf_folder.h"
#include "checkpoint/native/box.h"
#include "checkpoint/native/native_weights.h"
#include "checkpoint/native/save.h"
#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/log.h"
#include "models/parameter_list.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/output_folder.h"
#include "trainer/state/imported_model.h"
#include "trainer/state/stored_model.h"

namespace enodia {
namespace {

/// Weights in memory with the shards that describe them.
struct HeldWeights {
  std::vector<std::vector<float>> memory;
  std::vector<Shard> shards;
};

/// Every world_size-th parameter, so that ranks read and hold about equally much.
HeldWeights read_share(const StoredModel& stored, const Communicator& world) {
  HeldWeights held;
  const std::vector<ParameterShape> parameters = list_parameters(stored.config.model);
  for (size_t i = world.rank(); i < parameters.size(); i += world.world_size()) {
    const ParameterShape& parameter = parameters[i];
    const int64_t count = element_count(parameter.shape, sizeof(float)).value_or(0);
    std::vector<float>& values = held.memory.emplace_back(static_cast<size_t>(count));
    Shard shard;
    shard.name = parameter.name;
    shard.dtype = DType::kFloat32;
    shard.shape = parameter.shape;
    shard.offset.assign(parameter.shape.size(), 0);
    shard.size = parameter.shape;
    shard.data = values.data();
    stored.weights->read(shard);
    shard.name = stored_name("master", parameter.name);
    held.shards.push_back(std::move(shard));
  }
  return held;
}

std::vector<Attachment> attachments_of(const StoredModel& stored) {
  std::vector<Attachment> attachments{{"config.yaml", model_to_yaml(stored.config)}};
  if (stored.tokenizer != nullptr) {
    attachments.push_back({"tokenizer.model", stored.tokenizer->blob()});
  }
  return attachments;
}

/// What a user should know of the folder before the model is used.
void warn_of_loose_ends(const StoredModel& stored) {
  const bool carries_files =
      stored.tokenizer != nullptr && stored.tokenizer->name() == "huggingface";
  if (!carries_files && !stored.hf_sampling.empty()) {
    std::string keys;
    for (const std::string& key : stored.hf_sampling) {
      keys += (keys.empty() ? "" : ", ") + key;
    }
    log_warning("generation_config.json: " + keys +
                " will not be kept, since only a tokenizer.json takes that file along; add them to "
                "what export writes");
  }
  if (stored.tokenizer != nullptr &&
      stored.tokenizer->vocab_size() > stored.config.model.vocab_size) {
    log_warning("the tokenizer has " + std::to_string(stored.tokenizer->vocab_size()) +
                " ids, but vocab_size in config.json is " +
                std::to_string(stored.config.model.vocab_size) +
                ": text that gives one of the ids beyond it cannot be used with this model");
  }
}

int64_t count_elements(const std::vector<Shard>& shards) {
  int64_t count = 0;
  for (const Shard& shard : shards) {
    count += element_count(shard.size, sizeof(float)).value_or(0);
  }
  return count;
}

}  // namespace

void import_model(Communicator& world, Watchdog& watchdog, const ImportArguments& arguments) {
  watchdog.board().enter(RunSection::kStart);
  StoredModel stored;
  HeldWeights held;
  run_together(world, [&] {
    if (!is_hf_folder(arguments.folder)) {
      throw FileError("'" + arguments.folder +
                      "' is no Hugging Face folder: it holds no config.json; download the model "
                      "first, or give the folder of its snapshot");
    }
    if (world.rank() == 0) {
      require_free(arguments.output);
    }
    stored = open_stored_model(arguments.folder);
    held = read_share(stored, world);
  });
  if (world.rank() == 0) {
    warn_of_loose_ends(stored);
  }
  watchdog.board().enter(RunSection::kSave);
  try {
    for (const std::string& warning : save_checkpoint(world,
                                                      arguments.output,
                                                      /*step=*/0,
                                                      held.shards,
                                                      imported_document(stored.token_ids),
                                                      attachments_of(stored),
                                                      {})) {
      log_warning(warning);
    }
  } catch (const FileError& error) {
    throw SharedError(error.what(), error.exit_code());  // every rank has the same one
  }
  const int64_t parameters = all_reduce_value(world, count_elements(held.shards), ReduceOp::kSum);
  if (world.rank() != 0) {
    return;
  }
  if (arguments.json) {
    const Json json = {
        {"output", arguments.output},
        {"family", stored.hf_family},
        {"parameters", parameters},
        {"tokenizer", stored.tokenizer ? Json(std::string(stored.tokenizer->name())) : Json()}};
    std::puts(json.dump().c_str());
  } else {
    std::printf("%s: %s, %lld parameters, %s\n",
                arguments.output.c_str(),
                stored.hf_family.c_str(),
                static_cast<long long>(parameters),
                stored.tokenizer ? "with its tokenizer"
                                 : "without a tokenizer (the folder has no tokenizer.json)");
  }
}

}  // namespace enodia
