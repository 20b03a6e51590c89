#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/sequence_layout.h"

namespace enodia {

/// T tokens to run through the model and what each should predict. The default has no tokens.
struct MicroBatch {
  static constexpr int64_t kNoLabel = -1;

  std::vector<int64_t> tokens;  ///< [T]
  std::vector<int64_t> labels;  ///< [T], the next token of the same document, or kNoLabel
  SequenceLayout layout;        ///< of the T tokens
  int64_t num_valid = 0;        ///< tokens with a label
};

/// Puts a micro-batch together, one segment after the other.
class MicroBatchBuilder {
 public:
  /// Tokens ids[0 .. length) as a segment, each labelled with the id after it. With `length` ids
  /// the last token has no label; with length + 1 the id after the segment is its label.
  void add_segment(std::span<const int64_t> ids, int64_t length);

  MicroBatch finish();

 private:
  MicroBatch batch_;
  std::vector<int64_t> lengths_;
};

}  // namespace enodia
