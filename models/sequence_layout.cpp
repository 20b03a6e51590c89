#include "models/sequence_layout.h"

#include <algorithm>
#include <limits>

#include "common/check.h"

namespace enodia {

SequenceLayout SequenceLayout::from_lengths(std::span<const int64_t> lengths) {
  constexpr int64_t kMaxTokens = std::numeric_limits<int32_t>::max();
  int64_t num_tokens = 0;
  for (const int64_t length : lengths) {
    ENODIA_CHECK(length > 0, "a segment has ", length, " tokens; every segment needs one");
    ENODIA_CHECK(length <= kMaxTokens - num_tokens, "more than ", kMaxTokens, " tokens");
    num_tokens += length;
  }

  SequenceLayout layout;
  layout.cu_seqlens.reserve(lengths.size() + 1);
  layout.positions.reserve(static_cast<size_t>(num_tokens));
  layout.documents.reserve(static_cast<size_t>(num_tokens));
  for (const int64_t length : lengths) {
    const auto segment = static_cast<int32_t>(layout.num_segments());
    for (int32_t position = 0; position < length; ++position) {
      layout.positions.push_back(position);
      layout.documents.push_back(segment);
    }
    layout.cu_seqlens.push_back(layout.cu_seqlens.back() + static_cast<int32_t>(length));
  }
  return layout;
}

int64_t SequenceLayout::max_segment_length() const {
  int64_t longest = 0;
  for (size_t i = 1; i < cu_seqlens.size(); ++i) {
    longest = std::max<int64_t>(longest, cu_seqlens[i] - cu_seqlens[i - 1]);
  }
  return longest;
}

}  // namespace enodia
