#include <algorithm>
#include <cstdio>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>

#include "checkpoint/hf/hf_export.h"
#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/check.h"
#include "common/file.h"
#include "common/log.h"
#include "common/random.h"
#include "common/wording.h"
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

/// Logits of random text; on rank 0, the others serve their experts. Collective.
at::Tensor logits_of(Communicator& world, ServingModel& serving) {
  if (world.rank() != 0) {
    serving.engine->logits(MicroBatch(), {});
    return {};
  }
  const MicroBatch text = random_text(serving.stored->config.model);
  std::vector<int64_t> rows(text.tokens.size());
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return serving.engine->logits(text, rows).to(at::kDouble);
}

/// Gives a model the weights that it has when they are stored in this type.
void round_weights(ServingModel& serving, DType dtype) {
  for (const LogicalParameter& parameter : serving.decoder->registry().parameters()) {
    const at::Tensor master = parameter.column("master");
    master.copy_(master.to(scalar_type(dtype)));
  }
  serving.decoder->commit_step();
}

/// Logits of the same text, on rank 0.
struct ComparedLogits {
  at::Tensor model;     ///< of the model as it is
  at::Tensor rounded;   ///< of the model with its weights rounded to the type they were written in
  at::Tensor exported;  ///< of the folder
};

/// Collective.
ComparedLogits compute_logits(Communicator& world,
                              const ExportArguments& arguments,
                              const std::string& folder,
                              StatusBoard& board) {
  ComparedLogits logits;
  {
    // Weights are compared, so both are computed with as finely as they are stored.
    ServingModel serving(
        world, arguments.model, board, ModelParts(), ServingModel::Compute::kInWideType);
    logits.model = logits_of(world, serving);
    round_weights(serving, dtype_from_name(arguments.dtype));
    logits.rounded = logits_of(world, serving);
  }  // one model in memory at a time
  ServingModel serving(world, folder, board, ModelParts());
  logits.exported = logits_of(world, serving);
  return logits;
}

struct Verification {
  double largest_difference = 0;   ///< from the logits of the rounded model
  double largest_logit = 0;        ///< of the rounded model
  double rounding_difference = 0;  ///< of the rounded model's logits from the model's own
};

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return at::max(at::abs(at::sub(a, b))).item<double>();
}

/// `not_finite` is the name of a tensor, if there is one. Throws FileError.
void require_finite(const at::Tensor& logits,
                    const std::string& model,
                    const std::optional<std::string>& not_finite) {
  // Zero times a number is zero unless the number is infinite or none.
  if (at::sum(at::mul(logits, 0)).item<double>() != 0) {
    throw FileError(
        "the logits of " + model + " are not finite, " +
        (not_finite ? "since " + quote(*not_finite) + " holds weights that are not"
                    : "though its weights are") +
        ", so the export cannot be verified and was not kept; take an earlier checkpoint, or "
        "export without --verify");
  }
}

/// Throws FileError when the folder's logits are not those of the rounded model. Local.
Verification compare(const ComparedLogits& logits,
                     const ExportArguments& arguments,
                     const std::optional<std::string>& not_finite) {
  require_finite(logits.model, arguments.model, not_finite);
  require_finite(logits.rounded, arguments.model + " rounded to " + arguments.dtype, not_finite);
  const Verification found{largest_difference(logits.rounded, logits.exported),
                           at::max(at::abs(logits.rounded)).item<double>(),
                           largest_difference(logits.rounded, logits.model)};
  if (!(found.largest_difference <= kTolerance * std::max(1.0, found.largest_logit))) {
    throw FileError(detail::concat("the exported model's logits differ from those of ",
                                   arguments.model,
                                   " rounded to ",
                                   arguments.dtype,
                                   " by ",
                                   found.largest_difference,
                                   " (the largest is ",
                                   found.largest_logit,
                                   "), so it was not kept; this is an error of enodia"));
  }
  return found;
}

/// The exported model and what is to be told of it.
struct Exported {
  HfConfig config;
  std::string note;
  std::optional<std::string> not_finite;  ///< the first tensor with such a weight
  std::optional<Verification> verified;
};

void report_as_json(const ExportArguments& arguments, const Exported& exported) {
  Json json = {{"output", arguments.output},
               {"family", name_of(*exported.config.family)},
               {"dtype", arguments.dtype}};
  if (exported.verified) {
    json["largest_difference"] = exported.verified->largest_difference;
    json["largest_logit"] = exported.verified->largest_logit;
    json["rounding_difference"] = exported.verified->rounding_difference;
  }
  std::puts(json.dump().c_str());
}

void report(const ExportArguments& arguments, const Exported& exported) {
  if (exported.not_finite) {
    log_warning(quote(*exported.not_finite) +
                " holds weights that are not finite; they were written as they are");
  }
  if (arguments.json) {
    report_as_json(arguments, exported);
    return;
  }
  std::printf("%s: %s (%s) in %s%s\n",
              arguments.output.c_str(),
              std::string(name_of(*exported.config.family)).c_str(),
              std::string(architecture_of(*exported.config.family)).c_str(),
              arguments.dtype.c_str(),
              exported.note.empty() ? "" : (", " + exported.note).c_str());
  if (!exported.verified) {
    return;
  }
  const Verification& found = *exported.verified;
  const Precision precision(scalar_type(exported.config.model.dtype));
  const bool was_rounded = name_of(dtype_of(precision.wide)) != arguments.dtype;
  std::printf(
      "verified: %sits logits differ from those of the model%s by at most %.2g (the largest "
      "is %.3g)\n",
      precision.is_mixed() ? "computed in float32 instead of bfloat16, " : "",
      was_rounded ? (" rounded to " + arguments.dtype).c_str() : "",
      found.largest_difference,
      found.largest_logit);
  if (was_rounded) {
    std::printf("rounding the weights changed the model's logits by at most %.2g\n",
                found.rounding_difference);
  }
}

}  // namespace

void export_model(Communicator& world, Watchdog& watchdog, const ExportArguments& arguments) {
  std::optional<OutputFolder> output;
  Exported exported;
  std::string folder;
  watchdog.board().enter(RunSection::kSave);
  const auto on_rank_0 = [&](const auto& work) {
    run_together(world, [&] {
      if (world.rank() == 0) {
        work();
      }
    });
  };
  on_rank_0([&] {
    const DType dtype = check_arguments(arguments);
    const StoredModel stored = open_stored_model(arguments.model);
    exported.config = describe(stored, arguments);
    output.emplace(arguments.output);
    folder = output->partial().string();
    exported.not_finite =
        write_hf_model(folder, exported.config, *stored.weights, {.dtype = dtype});
    exported.note = write_tokenizer(folder, stored);
  });
  if (arguments.verify) {
    folder = broadcast_text(world, folder, 0);
    const ComparedLogits logits = compute_logits(world, arguments, folder, watchdog.board());
    on_rank_0([&] { exported.verified = compare(logits, arguments, exported.not_finite); });
  }
  on_rank_0([&] {
    output->commit();
    report(arguments, exported);
  });
}

}  // namespace enodia
