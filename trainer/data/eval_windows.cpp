#include "trainer/data/eval_windows.h"

#include <algorithm>

#include "common/check.h"

namespace enodia {

/// Calls `visit(place, length)` for the windows from `place` on, until it returns false.
template <typename Visit>
void EvalWindows::walk(Place place, const Visit& visit) const {
  const std::span<const int64_t> offsets = dataset_.document_offsets();
  for (; place.document < dataset_.num_documents(); ++place.document, place.first = 0) {
    const auto d = static_cast<size_t>(place.document);
    const int64_t inputs = offsets[d + 1] - offsets[d] - 1;  // the last token predicts nothing
    for (; place.first < inputs; place.first += sequence_length_) {
      if (!visit(place, std::min(sequence_length_, inputs - place.first))) {
        return;
      }
    }
  }
}

EvalWindows::EvalWindows(const IndexedDataset& dataset,
                         int64_t sequence_length,
                         int64_t sequences_per_batch)
    : dataset_(dataset),
      sequence_length_(sequence_length),
      max_tokens_(sequence_length * sequences_per_batch) {
  ENODIA_CHECK(sequence_length > 0 && sequences_per_batch > 0,
               sequences_per_batch,
               " sequences of ",
               sequence_length,
               " tokens");
  int64_t tokens = max_tokens_;  // of the last micro-batch; there is none yet
  walk({0, 0}, [&](Place place, int64_t length) {
    if (tokens + length > max_tokens_) {
      starts_.push_back(place);
      tokens = 0;
    }
    tokens += length;
    num_predicted_ += length;
    return true;
  });
}

MicroBatch EvalWindows::batch(int64_t index) const {
  ENODIA_CHECK(index >= 0 && index < num_batches(), "micro-batch ", index, " of ", num_batches());
  MicroBatchBuilder builder;
  std::vector<int64_t> ids;
  int64_t tokens = 0;
  walk(starts_[static_cast<size_t>(index)], [&](Place place, int64_t length) {
    if (tokens + length > max_tokens_) {
      return false;
    }
    const auto document = static_cast<size_t>(place.document);
    ids.resize(static_cast<size_t>(length) + 1);
    dataset_.read(dataset_.document_offsets()[document] + place.first, ids);
    builder.add_segment(ids, length);
    tokens += length;
    return true;
  });
  return builder.finish();
}

}  // namespace enodia
