#pragma once

#include <cstdint>
#include <vector>

#include "trainer/data/indexed_dataset.h"
#include "trainer/data/micro_batch.h"

namespace enodia {

/// Every token of a data set but the first of each document is predicted exactly once: each
/// document is cut into windows of up to S tokens that do not overlap, and consecutive windows are
/// packed, as segments, into micro-batches of up to B * S tokens. Every token there has a label.
class EvalWindows {
 public:
  /// The data set must outlive this. Throws UsageError unless both numbers are positive.
  EvalWindows(const IndexedDataset& dataset, int64_t sequence_length, int64_t sequences_per_batch);

  int64_t num_batches() const { return static_cast<int64_t>(starts_.size()); }

  /// Tokens predicted over all micro-batches.
  int64_t num_predicted() const { return num_predicted_; }

  /// Micro-batch i; any order, any number of times. Local.
  MicroBatch batch(int64_t index) const;

 private:
  /// A window: its document and its first token inside the document.
  struct Place {
    int64_t document;
    int64_t first;
  };

  template <typename Visit>
  void walk(Place place, const Visit& visit) const;

  const IndexedDataset& dataset_;
  int64_t sequence_length_;
  int64_t max_tokens_;
  int64_t num_predicted_ = 0;
  std::vector<Place> starts_;  ///< the first window of each micro-batch
};

}  // namespace enodia
