#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>
#include <ATen/ops/sub.h>

#include "checkpoint/hf/hf_export.h"
#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/check.h"
#include "common/file.h"
#include "common/random.h"
#include "parallel/tensor_view.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/output_folder.h"
#include "trainer/data/tokenizer_export.h"
#include "trainer/state/serving_model.h"

namespace enodia {
namespace {

/// Two sequences of random ids, as long as the model is used to but at most this many tokens.
constexpr int64_t kSequences = 2;
constexpr int64_t kLongestSequence = 64;
/// Logits agree to this, times the largest where that is above one (docs/numerics.md).
constexpr double kTolerance = 2e-4;

DType check_arguments(const ExportArguments& arguments) {
  if (arguments.format != "hf") {
    throw ConfigError("--format '" + arguments.format + "' is not known; the formats are: hf");
  }
  if (arguments.dtype != "float32" && arguments.dtype != "bfloat16") {
    throw ConfigError("--dtype '" + arguments.dtype + "' must be float32 or bfloat16");
  }
  require_free(arguments.output);
  return dtype_from_name(arguments.dtype);
}

HfConfig describe(const StoredModel& stored, const ExportArguments& arguments) {
  if (!stored.config.model.is_built_in()) {
    throw ConfigError("the model has model.attention " + stored.config.model.attention +
                      " and model.router " + stored.config.model.router +
                      "; no family knows parts of one's own, so it stays a native checkpoint");
  }
  HfConfig config;
  config.family = &choose_family(stored.config.model, arguments.family);
  config.model = stored.config.model;
  config.router_aux_loss_coef = stored.config.router.aux_loss_coef;
  config.dtype = arguments.dtype;
  config.token_ids = stored.token_ids;
  return config;
}

/// Returns what is to be said of the tokenizer, if anything.
std::string write_tokenizer(const std::filesystem::path& folder, const StoredModel& stored) {
  if (stored.tokenizer == nullptr) {
    return "without a tokenizer, since the model came without one";
  }
  TokenizerFiles written =
      hugging_face_files(*stored.tokenizer, stored.config.model.max_position_embeddings);
  for (const TokenizerFile& file : written.files) {
    write_file_atomically(folder / file.name, file.content);
  }
  return written.note;
}

MicroBatch random_text(const ModelOptions& model) {
  const int64_t length = std::min(model.max_position_embeddings, kLongestSequence);
  const RandomKey key = RandomKey(1).with("verify");
  MicroBatchBuilder builder;
  for (int64_t sequence = 0; sequence < kSequences; ++sequence) {
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < length; ++i) {
      const double draw = random_uniform(key, static_cast<uint64_t>(sequence * length + i));
      ids.push_back(static_cast<int64_t>(draw * static_cast<double>(model.vocab_size)));
    }
    builder.add_segment(ids, length);
  }
  return builder.finish();
}

/// Logits of random text; on rank 0, the others serve their experts. `rounded` is the type that the
/// weights were written in. Collective.
at::Tensor logits_of(Communicator& world,
                     const std::string& model,
                     StatusBoard& board,
                     DType rounded) {
  ServingModel serving(world, model, board, ModelParts());
  for (const LogicalParameter& parameter : serving.decoder->registry().parameters()) {
    const at::Tensor master = parameter.column("master");
    master.copy_(master.to(scalar_type(rounded)));
  }
  serving.decoder->commit_step();
  if (world.rank() != 0) {
    serving.engine->logits(MicroBatch(), {});
    return {};
  }
  const MicroBatch text = random_text(serving.stored->config.model);
  std::vector<int64_t> rows(text.tokens.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] = static_cast<int64_t>(i);
  }
  return serving.engine->logits(text, rows).to(at::kDouble);
}

struct Verification {
  double largest_difference = 0, largest_logit = 0;
};

/// Throws SharedError when the folder's logits are not the model's. Collective.
Verification verify(Communicator& world,
                    const ExportArguments& arguments,
                    const std::string& folder,
                    StatusBoard& board) {
  const DType dtype = dtype_from_name(arguments.dtype);
  const at::Tensor before = logits_of(world, arguments.model, board, dtype);
  const at::Tensor after = logits_of(world, folder, board, DType::kFloat32);
  Verification found;
  run_together(world, [&] {
    if (world.rank() != 0) {
      return;
    }
    found = {at::max(at::abs(at::sub(before, after))).item<double>(),
             at::max(at::abs(before)).item<double>()};
    if (!(found.largest_difference <= kTolerance * std::max(1.0, found.largest_logit))) {
      throw FileError(detail::concat("the exported model's logits differ from those of ",
                                     arguments.model,
                                     " by ",
                                     found.largest_difference,
                                     " (the largest is ",
                                     found.largest_logit,
                                     "), so it was not kept; this is an error of enodia"));
    }
  });
  return found;
}

void report(const ExportArguments& arguments,
            const HfConfig& config,
            const std::string& note,
            const std::optional<Verification>& found) {
  const std::string family(name_of(*config.family));
  if (arguments.json) {
    Json json = {{"output", arguments.output}, {"family", family}, {"dtype", arguments.dtype}};
    if (found) {
      json["largest_difference"] = found->largest_difference;
      json["largest_logit"] = found->largest_logit;
    }
    std::puts(json.dump().c_str());
    return;
  }
  std::printf("%s: %s (%s) in %s%s\n",
              arguments.output.c_str(),
              family.c_str(),
              std::string(architecture_of(*config.family)).c_str(),
              arguments.dtype.c_str(),
              note.empty() ? "" : (", " + note).c_str());
  if (found) {
    std::printf(
        "verified: its logits differ from the model's by at most %.2g (the largest is %.3g)\n",
        found->largest_difference,
        found->largest_logit);
  }
}

}  // namespace

void export_model(Communicator& world, Watchdog& watchdog, const ExportArguments& arguments) {
  std::optional<OutputFolder> output;
  HfConfig config;
  std::string note;
  std::string folder;
  watchdog.board().enter(RunSection::kSave);
  run_together(world, [&] {
    if (world.rank() != 0) {
      return;
    }
    const DType dtype = check_arguments(arguments);
    const StoredModel stored = open_stored_model(arguments.model);
    config = describe(stored, arguments);
    output.emplace(arguments.output);
    folder = output->partial().string();
    write_hf_model(folder, config, *stored.weights, {.dtype = dtype});
    note = write_tokenizer(folder, stored);
  });
  std::optional<Verification> found;
  if (arguments.verify) {
    found = verify(world, arguments, broadcast_text(world, folder, 0), watchdog.board());
  }
  run_together(world, [&] {
    if (world.rank() == 0) {
      output->commit();
      report(arguments, config, note, found);
    }
  });
}

}  // namespace enodia
