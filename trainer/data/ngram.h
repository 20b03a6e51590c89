#pragma once

#include <cstdint>

#include "trainer/data/eval_windows.h"
#include "trainer/data/indexed_dataset.h"

namespace enodia {

/// What a language model must beat: mean nats per token of add-k unigram and bigram models.
struct NgramBaselines {
  double unigram_nats = 0.0;
  double bigram_nats = 0.0;
  double unigram_k = 0.0;
  double bigram_k = 0.0;
  int64_t tokens = 0;  ///< predicted
};

/// Counts on `train`, evaluates on exactly the tokens that `valid` predicts.
///   unigram p(t) = (c(t) + k) / (N + k V),   bigram p(t | s) = (c(s, t) + k) / (c(s) + k V)
/// k is chosen on the training documents alone: every twentieth is held out (of fewer than twenty,
/// the last twentieth of the stream), the best of {1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001} is kept
/// and all documents are counted again. Memory: about 40 bytes for each different pair of tokens.
/// Throws ConfigError when either part predicts no token. Local.
NgramBaselines measure_ngrams(const IndexedDataset& train,
                              const EvalWindows& valid,
                              int64_t vocab_size);

}  // namespace enodia
