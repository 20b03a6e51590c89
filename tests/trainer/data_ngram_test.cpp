#include <cmath>
#include <map>
#include <utility>

#include <gtest/gtest.h>

#include "common/error.h"
#include "common/random.h"
#include "tests/trainer/data_fixtures.h"
#include "trainer/data/ngram.h"

namespace enodia {
namespace {

constexpr int64_t kVocab = 11;
constexpr double kChoices[] = {1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001};
using Pairs = std::vector<std::pair<int64_t, int64_t>>;

/// Documents in which the next id depends on the one before it.
Documents random_documents(uint64_t seed, int64_t count) {
  const RandomKey key(seed);
  Documents documents;
  uint64_t draw = 0;
  for (int64_t d = 0; d < count; ++d) {
    auto& document = documents.emplace_back();
    const auto length = static_cast<int64_t>(random_uniform(key, draw++) * 40);
    for (int64_t i = 0; i < length; ++i) {
      const double u = random_uniform(key, draw++);
      const int64_t before = document.empty() ? 0 : document.back();
      document.push_back(u < 0.7 ? (before + 1) % kVocab
                                 : static_cast<int64_t>((u - 0.7) / 0.3 * (kVocab - 1)));
    }
  }
  return documents;
}

Pairs pairs_of(const Documents& documents) {
  Pairs pairs;
  for (const auto& document : documents) {
    for (size_t i = 1; i < document.size(); ++i) {
      pairs.emplace_back(document[i - 1], document[i]);
    }
  }
  return pairs;
}

/// Mean nats of the pairs under counts of `fit`, by searching the list of pairs for each of them.
double brute_force(const Pairs& fit, const Pairs& evaluated, double k, bool bigram) {
  double nats = 0.0;
  for (const auto& [context, target] : evaluated) {
    double hits = 0.0;
    double total = 0.0;
    for (const auto& [s, t] : fit) {
      const bool counts = !bigram || s == context;
      total += counts ? 1.0 : 0.0;
      hits += counts && t == target ? 1.0 : 0.0;
    }
    nats -= std::log((hits + k) / (total + k * kVocab));
  }
  return nats / static_cast<double>(evaluated.size());
}

double brute_force_best(const Pairs& fit, const Pairs& held_out, bool bigram) {
  std::map<double, double> by_loss;
  for (const double k : kChoices) {
    by_loss.emplace(brute_force(fit, held_out, k, bigram), k);
  }
  return by_loss.begin()->second;
}

void expect_brute_force(const NgramBaselines& result,
                        const Pairs& fit,
                        const Pairs& held_out,
                        const Pairs& all,
                        const Pairs& valid) {
  EXPECT_EQ(result.tokens, static_cast<int64_t>(valid.size()));
  EXPECT_EQ(result.unigram_k, brute_force_best(fit, held_out, false));
  EXPECT_EQ(result.bigram_k, brute_force_best(fit, held_out, true));
  EXPECT_NEAR(result.unigram_nats, brute_force(all, valid, result.unigram_k, false), 1e-9);
  EXPECT_NEAR(result.bigram_nats, brute_force(all, valid, result.bigram_k, true), 1e-9);
}

TEST(NgramBaselines, EqualABruteForceCount) {
  const TemporaryFolder folder;
  const Documents train = random_documents(1, 45);
  const Documents valid = random_documents(2, 6);
  const auto train_set = make_dataset(folder.file("train"), train, kVocab);
  const auto valid_set = make_dataset(folder.file("valid"), valid, kVocab);
  Documents fit = train;
  fit.erase(fit.begin() + 39);
  fit.erase(fit.begin() + 19);
  const Documents held_out{train[19], train[39]};
  const EvalWindows windows(valid_set, 7, 2);
  const NgramBaselines result = measure_ngrams(train_set, windows, kVocab);
  expect_brute_force(result, pairs_of(fit), pairs_of(held_out), pairs_of(train), pairs_of(valid));
  EXPECT_LT(result.bigram_nats, result.unigram_nats - 0.5);
}

TEST(NgramBaselines, HoldOutTheEndOfTheStreamWhenDocumentsAreFew) {
  const TemporaryFolder folder;
  Documents train = random_documents(3, 10);
  train.resize(1);
  train[0].clear();
  for (const auto& document : random_documents(4, 10)) {
    train[0].insert(train[0].end(), document.begin(), document.end());
  }
  const auto set = make_dataset(folder.file("x"), train, kVocab);
  const auto size = static_cast<int64_t>(train[0].size());
  const Pairs all = pairs_of(train);
  const int64_t first = size - size / 20 - 1;  // pair i predicts token i + 1
  const Pairs fit(all.begin(), all.begin() + first);
  const Pairs held_out(all.begin() + first, all.end());
  const NgramBaselines result = measure_ngrams(set, EvalWindows(set, 16, 1), kVocab);
  expect_brute_force(result, fit, held_out, all, all);
}

TEST(NgramBaselines, NeedTokensToPredict) {
  const TemporaryFolder folder;
  const auto train = make_dataset(folder.file("train"), {{1, 2, 3}}, kVocab);
  const auto valid = make_dataset(folder.file("valid"), {{1}, {2}}, kVocab);
  EXPECT_THROW(measure_ngrams(train, EvalWindows(valid, 4, 1), kVocab), ConfigError);
  EXPECT_THROW(measure_ngrams(valid, EvalWindows(train, 4, 1), kVocab), ConfigError);
}

}  // namespace
}  // namespace enodia
