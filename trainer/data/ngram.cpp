#include "trainer/data/ngram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>
#include <vector>

#include "common/check.h"
#include "common/error.h"

namespace enodia {
namespace {

constexpr std::array kCandidates{1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001};
constexpr int64_t kHeldOutEvery = 20;

class NgramCounts {
 public:
  explicit NgramCounts(int64_t vocab_size)
      : vocab_size_(vocab_size),
        targets_(static_cast<size_t>(vocab_size)),
        contexts_(static_cast<size_t>(vocab_size)) {}

  void add(int64_t context, int64_t target) {
    ++num_targets_;
    ++targets_[static_cast<size_t>(target)];
    ++contexts_[static_cast<size_t>(context)];
    ++pairs_[pair_key(context, target)];
  }

  int64_t num_targets() const { return num_targets_; }

  double unigram_nats(int64_t target, double k) const {
    return -std::log((static_cast<double>(targets_[static_cast<size_t>(target)]) + k) /
                     (static_cast<double>(num_targets_) + k * static_cast<double>(vocab_size_)));
  }

  double bigram_nats(int64_t context, int64_t target, double k) const {
    const auto found = pairs_.find(pair_key(context, target));
    const double pairs = found == pairs_.end() ? 0.0 : static_cast<double>(found->second);
    const auto contexts = static_cast<double>(contexts_[static_cast<size_t>(context)]);
    return -std::log((pairs + k) / (contexts + k * static_cast<double>(vocab_size_)));
  }

 private:
  uint64_t pair_key(int64_t context, int64_t target) const {
    return static_cast<uint64_t>(context) * static_cast<uint64_t>(vocab_size_) +
           static_cast<uint64_t>(target);
  }

  int64_t vocab_size_;
  int64_t num_targets_ = 0;
  std::vector<int64_t> targets_;   ///< [V], how often a token is predicted
  std::vector<int64_t> contexts_;  ///< [V], how often a token precedes a predicted one
  std::unordered_map<uint64_t, int64_t> pairs_;
};

enum class Part { kFit, kHeldOut, kAll };

/// Calls `visit(context, target)` for each neighboring pair inside a document of the part.
template <typename Visit>
void for_each_pair(const IndexedDataset& dataset, Part part, const Visit& visit) {
  const std::span<const int64_t> offsets = dataset.document_offsets();
  const int64_t documents = dataset.num_documents();
  const int64_t last_part = dataset.num_tokens() - dataset.num_tokens() / kHeldOutEvery;
  std::vector<int64_t> ids;
  for (int64_t d = 0; d < documents; ++d) {
    const int64_t begin = offsets[static_cast<size_t>(d)];
    ids.resize(static_cast<size_t>(offsets[static_cast<size_t>(d) + 1] - begin));
    dataset.read(begin, ids);
    for (size_t i = 1; i < ids.size(); ++i) {
      const bool held_out = documents < kHeldOutEvery ? begin + static_cast<int64_t>(i) >= last_part
                                                      : d % kHeldOutEvery == kHeldOutEvery - 1;
      if (part == Part::kAll || held_out == (part == Part::kHeldOut)) {
        visit(ids[i - 1], ids[i]);
      }
    }
  }
}

NgramCounts count(const IndexedDataset& dataset, Part part, int64_t vocab_size) {
  NgramCounts counts(vocab_size);
  for_each_pair(dataset, part, [&](int64_t context, int64_t target) {
    ENODIA_CHECK(context < vocab_size && target < vocab_size,
                 "ids ",
                 context,
                 " and ",
                 target,
                 " of a vocabulary of ",
                 vocab_size);
    counts.add(context, target);
  });
  return counts;
}

/// The candidates with the smallest held-out loss, of the unigram and of the bigram.
void choose_k(const IndexedDataset& train, int64_t vocab_size, NgramBaselines& result) {
  const NgramCounts counts = count(train, Part::kFit, vocab_size);
  std::array<double, kCandidates.size()> unigram{};
  std::array<double, kCandidates.size()> bigram{};
  for_each_pair(train, Part::kHeldOut, [&](int64_t context, int64_t target) {
    for (size_t i = 0; i < kCandidates.size(); ++i) {
      unigram[i] += counts.unigram_nats(target, kCandidates[i]);
      bigram[i] += counts.bigram_nats(context, target, kCandidates[i]);
    }
  });
  const auto best = [](const auto& losses) {
    return kCandidates[static_cast<size_t>(std::min_element(losses.begin(), losses.end()) -
                                           losses.begin())];
  };
  result.unigram_k = best(unigram);
  result.bigram_k = best(bigram);
}

}  // namespace

NgramBaselines measure_ngrams(const IndexedDataset& train,
                              const EvalWindows& valid,
                              int64_t vocab_size) {
  NgramBaselines result;
  result.tokens = valid.num_predicted();
  choose_k(train, vocab_size, result);
  const NgramCounts counts = count(train, Part::kAll, vocab_size);
  if (result.tokens == 0 || counts.num_targets() == 0) {
    throw ConfigError(detail::concat("the training part predicts ",
                                     counts.num_targets(),
                                     " tokens and the held-out part ",
                                     result.tokens,
                                     "; both need documents of two tokens or more"));
  }
  for (int64_t index = 0; index < valid.num_batches(); ++index) {
    const MicroBatch batch = valid.batch(index);
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      result.unigram_nats += counts.unigram_nats(batch.labels[i], result.unigram_k);
      result.bigram_nats += counts.bigram_nats(batch.tokens[i], batch.labels[i], result.bigram_k);
    }
  }
  result.unigram_nats /= static_cast<double>(result.tokens);
  result.bigram_nats /= static_cast<double>(result.tokens);
  return result;
}

}  // namespace enodia
