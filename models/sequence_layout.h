#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace enodia {

/// How T local tokens fall into segments. A segment is a run of tokens of one document inside one
/// sequence; attention never leaves it and positions count from 0 in it. Free of torch.
struct SequenceLayout {
  std::vector<int32_t> cu_seqlens{0};  ///< [segments + 1], from 0 to T, strictly increasing
  std::vector<int32_t> positions;      ///< [T], place of each token inside its segment
  std::vector<int32_t> documents;      ///< [T], index of each token's segment

  /// Segments of these lengths, one after the other; no lengths give zero tokens. Throws UsageError
  /// unless every length is positive and the sum fits into int32.
  static SequenceLayout from_lengths(std::span<const int64_t> lengths);

  int64_t num_tokens() const { return cu_seqlens.back(); }
  int64_t num_segments() const { return static_cast<int64_t>(cu_seqlens.size()) - 1; }

  /// Tokens of the longest segment; 0 without tokens.
  int64_t max_segment_length() const;
};

}  // namespace enodia
