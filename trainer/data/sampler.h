#pragma once

#include <cstdint>

#include "trainer/data/indexed_dataset.h"
#include "trainer/data/micro_batch.h"
#include "trainer/data/sample_order.h"

namespace enodia {

struct SamplerOptions {
  SampleOrder order = SampleOrder::kShuffled;
  int64_t sequence_length = 128;  ///< S
  uint64_t seed = 0;
};

/// Says which part of a data set sample i is, for any i >= 0: a pure function of (seed, i), without
/// state, so a run resumes by the number of samples consumed.
///
/// The stream is cut into n windows of S tokens that predict the token after them; sample i is
/// window i mod n of epoch i / n. kSequential takes them in order from the first token; kShuffled
/// permutes them and shifts all cuts by another offset in [0, S) in each epoch.
class Sampler {
 public:
  /// The data set must outlive the sampler. Throws ConfigError when it has not S + 1 tokens.
  Sampler(const IndexedDataset& dataset, const SamplerOptions& options);

  const IndexedDataset& dataset() const { return dataset_; }
  int64_t sequence_length() const { return options_.sequence_length; }
  int64_t windows_per_epoch() const { return num_windows_; }

  /// First token of sample i; the window is that token and the S after it.
  int64_t window_start(int64_t sample) const;

 private:
  const IndexedDataset& dataset_;
  SamplerOptions options_;
  int64_t num_windows_;
};

/// Adds sample i, a sequence of S tokens, cut into segments where documents end. The last token of
/// a document has no label. Local.
void add_sample(const Sampler& sampler, int64_t sample, MicroBatchBuilder& builder);

/// The sum of num_valid over samples [first_sample, first_sample + count), from the document
/// offsets alone: every rank can count a whole global batch. Local.
int64_t count_valid(const Sampler& sampler, int64_t first_sample, int64_t count);

}  // namespace enodia
