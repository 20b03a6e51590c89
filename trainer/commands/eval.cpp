#include <cmath>
#include <cstdio>
#include <numbers>
#include <optional>

#include "collectives/run_together.h"
#include "common/check.h"
#include "trainer/commands/commands.h"
#include "trainer/data/ngram.h"
#include "trainer/data/prepare.h"
#include "trainer/evaluate.h"
#include "trainer/metrics/progress.h"
#include "trainer/state/serving_model.h"

namespace enodia {
namespace {

/// Sequences in one forward pass; larger ones gain nothing on a CPU.
constexpr int64_t kSequencesPerBatch = 8;

/// Opens a data set whose ids mean to the model what they meant to whoever prepared it.
PreparedData open_for_model(const std::string& prefix, const StoredModel& model) {
  PreparedData data = open_prepared(prefix);
  check_same_tokenizer(model, data.tokenizer_hash, prefix);
  if (data.vocab_size > model.config.model.vocab_size) {
    throw FileError(detail::concat(prefix,
                                   " has ids up to ",
                                   data.vocab_size - 1,
                                   ", but the vocabulary of ",
                                   model.folder.string(),
                                   " ends at ",
                                   model.config.model.vocab_size - 1,
                                   "; prepare it with the model's tokenizer"));
  }
  return data;
}

double bits_per_byte(double nats, int64_t bytes) {
  return bytes > 0 ? nats / std::numbers::ln2 / static_cast<double>(bytes) : 0.0;
}

void print_row(const char* name, double loss, double nats, int64_t bytes) {
  std::printf("%-10s %8.4f nats/token   perplexity %9.2f   %.4f bits/byte\n",
              name,
              loss,
              std::exp(loss),
              bits_per_byte(nats, bytes));
}

void print_baselines(const NgramBaselines& ngrams, int64_t bytes) {
  const auto tokens = static_cast<double>(ngrams.tokens);
  print_row("bigram", ngrams.bigram_nats, ngrams.bigram_nats * tokens, bytes);
  print_row("unigram", ngrams.unigram_nats, ngrams.unigram_nats * tokens, bytes);
}

Json to_json(const HeldOutLoss& held_out,
             int64_t bytes,
             const std::optional<NgramBaselines>& ngrams) {
  Json json = {{"loss", held_out.loss()},
               {"perplexity", std::exp(held_out.loss())},
               {"bits_per_byte", bits_per_byte(held_out.nats, bytes)},
               {"tokens", held_out.tokens},
               {"bytes", bytes}};
  if (ngrams) {
    json["unigram_loss"] = ngrams->unigram_nats;
    json["bigram_loss"] = ngrams->bigram_nats;
  }
  return json;
}

}  // namespace

void evaluate(Communicator& world,
              Watchdog& watchdog,
              const EvalArguments& arguments,
              const ModelParts& parts) {
  ServingModel model(world, arguments.model, watchdog.board(), parts);
  std::optional<PreparedData> data;
  run_together(world, [&] { data.emplace(open_for_model(arguments.data, *model.stored)); });
  watchdog.board().enter(RunSection::kEval);
  const EvalWindows windows(
      data->dataset,
      arguments.sequence_length > 0 ? arguments.sequence_length : model.stored->context_length(),
      kSequencesPerBatch);
  const bool shows = arguments.terminal && !arguments.json && world.rank() == 0;
  const HeldOutLoss held_out =
      evaluate_windows(*model.engine,
                       model.mesh,
                       windows,
                       shows ? EvaluationProgress(rewrite_evaluation_line) : EvaluationProgress());
  if (shows) {
    erase_line();
  }

  std::optional<NgramBaselines> ngrams;
  run_together(world, [&] {
    if (!arguments.ngrams.empty() && world.rank() == 0) {
      const PreparedData counted = open_for_model(arguments.ngrams, *model.stored);
      ngrams = measure_ngrams(counted.dataset, windows, counted.vocab_size);
    }
  });
  if (world.rank() != 0) {
    return;
  }
  if (arguments.json) {
    std::puts(to_json(held_out, data->text_bytes, ngrams).dump().c_str());
    return;
  }
  std::printf("%s on %s: %lld tokens, %lld bytes of text\n",
              arguments.model.c_str(),
              arguments.data.c_str(),
              static_cast<long long>(held_out.tokens),
              static_cast<long long>(data->text_bytes));
  print_row("model", held_out.loss(), held_out.nats, data->text_bytes);
  if (ngrams) {
    print_baselines(*ngrams, data->text_bytes);
  }
}

}  // namespace enodia
