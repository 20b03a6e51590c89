#pragma once

#include <cstdint>

#include "parallel/slice.h"

namespace enodia {

/// What the experts of all MoE layers look like: SwiGLU feed-forwards of one shape, whose matrices
/// lie one behind the other in a chunk. Several ranks may own an expert together: each a stripe,
/// which is a run of whole rows of the chunk (fully sharded experts where all ranks do: LAER-MoE,
/// arXiv 2602.11686, section 3.1).
struct ExpertShape {
  int64_t hidden_size = 0;        ///< D
  int64_t intermediate_size = 0;  ///< F
  int stripes = 1;                ///< of a chunk

  int64_t gate_up_elements() const { return 2 * intermediate_size * hidden_size; }
  int64_t down_elements() const { return hidden_size * intermediate_size; }
  /// Elements of one chunk: gate [F, D], up [F, D] and down [D, F], padded to 256 bytes.
  int64_t chunk_elements() const;
  /// The elements of a chunk that are stripe `index`. Stripes follow each other, and their sizes
  /// differ by the length of a row at most; one may be empty.
  Slice stripe(int index) const;
  /// Elements of the largest stripe, padded to 256 bytes: of a row in an owner's table.
  int64_t stripe_elements() const;
};

}  // namespace enodia
