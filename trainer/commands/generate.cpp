#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <span>

#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/check.h"
#include "common/random.h"
#include "trainer/commands/commands.h"
#include "trainer/state/serving_model.h"

namespace enodia {
namespace {

/// Draws from softmax(logits / temperature) over the top_k likeliest; temperature 0 takes the
/// likeliest. `draw` numbers the token, so the text is a function of (seed, prompt).
int64_t choose_token(std::span<const double> logits,
                     const GenerateArguments& arguments,
                     uint64_t draw) {
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(
      order.begin(), order.end(), [&](int64_t a, int64_t b) { return logits[a] > logits[b]; });
  if (arguments.temperature <= 0.0) {
    return order.front();
  }
  if (arguments.top_k > 0) {
    order.resize(std::min<size_t>(order.size(), static_cast<size_t>(arguments.top_k)));
  }
  std::vector<double> cumulative;
  double sum = 0.0;
  for (const int64_t id : order) {
    sum += std::exp((logits[id] - logits[order.front()]) / arguments.temperature);
    cumulative.push_back(sum);
  }
  const RandomKey key = RandomKey(static_cast<uint64_t>(arguments.seed)).with("generate");
  const double target = random_uniform(key, draw) * sum;
  const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), target);
  return order[std::min<size_t>(found - cumulative.begin(), order.size() - 1)];
}

/// The last tokens of the text as a micro-batch of one segment.
MicroBatch context_of(std::span<const int64_t> ids, int64_t sequence_length) {
  const auto length = std::min<int64_t>(std::ssize(ids), sequence_length);
  MicroBatchBuilder builder;
  builder.add_segment(ids.last(static_cast<size_t>(length)), length);
  return builder.finish();
}

/// Logits of the next token as doubles; rank 0 holds the text, the others serve their experts with
/// no tokens of their own.
std::vector<double> next_logits(ServingModel& model, const std::vector<int64_t>& ids) {
  if (model.mesh.rank() != 0) {
    model.engine->logits(MicroBatch(), {});
    return {};
  }
  const MicroBatch context = context_of(ids, model.stored->context_length());
  const int64_t last = static_cast<int64_t>(context.tokens.size()) - 1;
  const at::Tensor logits =
      model.engine->logits(context, std::span<const int64_t>(&last, 1)).to(at::kDouble);
  // Rows beyond the tokenizer's vocabulary are padding and are never chosen.
  const auto* first = logits.const_data_ptr<double>();
  return {first, first + std::min(model.stored->tokenizer->vocab_size(), logits.numel())};
}

/// The prompt's ids; an empty prompt starts after the end of a document. Throws FileError when the
/// model has no tokenizer, or one that knows more tokens than the model does.
std::vector<int64_t> prompt_ids(const StoredModel& model, const std::string& prompt) {
  const Tokenizer& tokenizer = model.require_tokenizer();
  std::vector<int64_t> ids = tokenizer.encode(prompt);
  if (ids.empty()) {
    ids.push_back(tokenizer.eos_id());
  }
  const int64_t largest = *std::max_element(ids.begin(), ids.end());
  if (largest >= model.config.model.vocab_size) {
    throw FileError(detail::concat("the tokenizer of ",
                                   model.folder.string(),
                                   " gives this prompt the id ",
                                   largest,
                                   ", but the model's vocabulary ends at ",
                                   model.config.model.vocab_size - 1,
                                   "; it is not this model's tokenizer"));
  }
  return ids;
}

/// A document ends with its tokenizer's token, a model's answer perhaps with another.
bool ends_text(const StoredModel& model, int64_t token) {
  const std::vector<int64_t>& stops = model.stop_ids;
  return token == model.tokenizer->eos_id() ||
         std::find(stops.begin(), stops.end(), token) != stops.end();
}

}  // namespace

void generate(Communicator& world,
              Watchdog& watchdog,
              const GenerateArguments& arguments,
              const ModelParts& parts) {
  ServingModel model(world, arguments.model, watchdog.board(), parts);
  watchdog.board().enter(RunSection::kEval);
  std::vector<int64_t> ids;
  run_together(world, [&] { ids = prompt_ids(*model.stored, arguments.prompt); });
  const size_t prompt_length = ids.size();
  for (int64_t i = 0; i < arguments.max_tokens; ++i) {
    const std::vector<double> logits = next_logits(model, ids);
    int64_t token =
        world.rank() == 0 ? choose_token(logits, arguments, static_cast<uint64_t>(i)) : 0;
    world.broadcast(view(std::span<int64_t>(&token, 1)), 0).wait();
    if (ends_text(*model.stored, token)) {
      break;
    }
    ids.push_back(token);
  }
  if (world.rank() != 0) {
    return;
  }
  const std::vector<int64_t> new_ids(ids.begin() + static_cast<int64_t>(prompt_length), ids.end());
  const std::string text = model.stored->tokenizer->decode(new_ids);
  if (arguments.json) {
    const Json json = {{"prompt", arguments.prompt}, {"text", text}, {"ids", new_ids}};
    std::puts(json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    std::printf("%s%s\n", arguments.prompt.c_str(), text.c_str());
  }
}

}  // namespace enodia
