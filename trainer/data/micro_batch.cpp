#include "trainer/data/micro_batch.h"

#include <utility>

#include "common/check.h"

namespace enodia {

void MicroBatchBuilder::add_segment(std::span<const int64_t> ids, int64_t length) {
  const auto count = static_cast<size_t>(length);
  ENODIA_CHECK(length > 0 && (ids.size() == count || ids.size() == count + 1),
               ids.size(),
               " ids for a segment of ",
               length);
  batch_.tokens.insert(batch_.tokens.end(), ids.begin(), ids.begin() + length);
  batch_.labels.insert(batch_.labels.end(), ids.begin() + 1, ids.end());
  batch_.num_valid += static_cast<int64_t>(ids.size()) - 1;
  if (ids.size() == count) {
    batch_.labels.push_back(MicroBatch::kNoLabel);
  }
  lengths_.push_back(length);
  if (!batch_.sequence_lengths.empty()) {
    batch_.sequence_lengths.back() += length;
  }
}

MicroBatch MicroBatchBuilder::finish() {
  batch_.layout = SequenceLayout::from_lengths(lengths_);
  return std::move(batch_);
}

}  // namespace enodia
