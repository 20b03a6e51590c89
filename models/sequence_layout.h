#pragma once

#include <cstdint>
#include <vector>

namespace enodia {

/// Where the segments of a micro-batch's T tokens lie; attention stays inside a segment.
struct SequenceLayout {
  std::vector<int32_t>
      cu_seqlens;  ///< segment s holds the tokens cu_seqlens[s] .. cu_seqlens[s + 1]
  std::vector<int32_t> positions;  ///< [T], from 0 in each segment
  std::vector<int32_t> documents;  ///< [T]
};

}  // namespace enodia
