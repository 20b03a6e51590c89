#include "trainer/state/state_snapshot.h"

#include <array>
#include <string_view>

#include <ATen/ops/empty_like.h>

#include "checkpoint/native/native_weights.h"
#include "collectives/run_together.h"
#include "common/error.h"
#include "common/log.h"
#include "parallel/tensor_view.h"

namespace enodia {
namespace {

constexpr std::array<std::string_view, 3> kColumns{"master", "exp_avg", "exp_avg_sq"};

/// Some rows of what this rank holds of a parameter; `tensor` is they, on the host.
Shard shard_of(const LogicalParameter& parameter,
               std::string_view column,
               const Slice& rows,
               const at::Tensor& tensor) {
  Shard shard;
  shard.name = stored_name(column, parameter.name);
  shard.dtype = dtype_of(tensor.scalar_type());
  shard.shape = parameter.shape;
  shard.offset = parameter.offset;
  shard.offset[0] += rows.first;
  shard.size = parameter.size;
  shard.size[0] = rows.count;
  shard.data = tensor.data_ptr();
  return shard;
}

/// Fills rows of a parameter with what `read` writes into a shard of them.
template <typename Read>
void fill_rows(const LogicalParameter& parameter,
               std::string_view column,
               const Slice& rows,
               const Read& read) {
  at::Tensor there = parameter.rows(column, rows);
  if (there.numel() == 0) {
    return;
  }
  const at::Tensor here = there.is_cpu() ? there : at::empty_like(there, at::kCPU);
  read(shard_of(parameter, column, rows, here));
  if (!there.is_cpu()) {
    there.copy_(here);
  }
}

[[noreturn]] void fail(const Checkpoint& checkpoint, const std::string& entry) {
  throw FileError("the checkpoint " + checkpoint.folder().string() + " has no valid entry '" +
                  entry + "'; it was not written by enodia train");
}

Json field(const Checkpoint& checkpoint, const char* object, const char* key) {
  const Json& document = checkpoint.document();
  if (!document.contains(object) || !document[object].is_object() ||
      !document[object].contains(key)) {
    fail(checkpoint, std::string(object) + "." + key);
  }
  return document[object][key];
}

int64_t count(const Checkpoint& checkpoint, const char* object, const char* key) {
  const Json value = field(checkpoint, object, key);
  if (!value.is_number_integer() || value.get<int64_t>() < 0) {  // above 2^63 it comes out negative
    fail(checkpoint, std::string(object) + "." + key);
  }
  return value.get<int64_t>();
}

std::string text(const Checkpoint& checkpoint, const char* object, const char* key) {
  const Json value = field(checkpoint, object, key);
  if (!value.is_string()) {
    fail(checkpoint, std::string(object) + "." + key);
  }
  return value.get<std::string>();
}

}  // namespace

SavedShards shards_to_save(const ParameterRegistry& registry) {
  SavedShards saved;
  for (const std::string_view column : kColumns) {
    for (const LogicalParameter& parameter : registry.parameters()) {
      const at::Tensor rows = parameter.rows(column, parameter.owned_rows).to(at::kCPU);
      if (rows.numel() > 0) {
        saved.shards.push_back(shard_of(parameter, column, parameter.owned_rows, rows));
        saved.memory.push_back(rows);
      }
    }
  }
  return saved;
}

void save_state(Communicator& communicator,
                const std::filesystem::path& folder,
                const ParameterRegistry& registry,
                const TrainingProgress& progress,
                const DataIdentity& data,
                const SavedLayout& layout,
                const std::vector<Attachment>& attachments,
                const SaveOptions& options) {
  const Json document = {{"progress",
                          {{"step", progress.step},
                           {"consumed_samples", progress.consumed_samples},
                           {"optimizer_steps", progress.optimizer_steps}}},
                         {"data",
                          {{"tokenizer_hash", data.tokenizer_hash},
                           {"fingerprint", data.fingerprint},
                           {"documents", data.documents},
                           {"tokens", data.tokens}}},
                         {"layout", {{"dp", layout.dp}, {"tp", layout.tp}, {"ep", layout.ep}}}};
  const SavedShards saved = shards_to_save(registry);
  std::vector<std::string> warnings;
  try {
    warnings = save_checkpoint(
        communicator, folder, progress.step, saved.shards, document, attachments, options);
  } catch (const FileError& error) {
    throw SharedError(error.what(), error.exit_code());  // every rank has the same one
  }
  for (const std::string& warning : warnings) {
    log_warning(warning);
  }
}

void load_state(const Checkpoint& checkpoint, const ParameterRegistry& registry) {
  for (const std::string_view column : kColumns) {
    for (const LogicalParameter& parameter : registry.parameters()) {
      const bool is_master = column == kColumns.front();
      const Slice& rows = is_master ? parameter.master_rows : parameter.updated_rows;
      fill_rows(parameter, column, rows, [&](const Shard& shard) { checkpoint.read(shard); });
    }
  }
}

void load_weights(const WeightSource& weights, const ParameterRegistry& registry) {
  for (const LogicalParameter& parameter : registry.parameters()) {
    fill_rows(parameter, "master", parameter.master_rows, [&](Shard shard) {
      shard.name = parameter.name;
      weights.read(shard);
    });
  }
}

TrainingProgress progress_of(const Checkpoint& checkpoint) {
  const TrainingProgress progress{count(checkpoint, "progress", "step"),
                                  count(checkpoint, "progress", "consumed_samples"),
                                  count(checkpoint, "progress", "optimizer_steps")};
  if (progress.step != checkpoint.step() || progress.optimizer_steps > progress.step) {
    fail(checkpoint, "progress");
  }
  return progress;
}

DataIdentity data_of(const Checkpoint& checkpoint) {
  return {text(checkpoint, "data", "tokenizer_hash"),
          text(checkpoint, "data", "fingerprint"),
          count(checkpoint, "data", "documents"),
          count(checkpoint, "data", "tokens")};
}

std::optional<SavedLayout> layout_of(const Checkpoint& checkpoint) {
  if (!checkpoint.document().contains("layout")) {
    return std::nullopt;
  }
  const auto size = [&](const char* axis) {
    return static_cast<int>(count(checkpoint, "layout", axis));
  };
  const bool names_tp = checkpoint.document()["layout"].contains("tp");
  return SavedLayout{size("dp"), names_tp ? size("tp") : 1, size("ep")};
}

}  // namespace enodia
