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
  /// Tokens of each sequence, which may hold several segments; empty = all are one sequence.
  std::vector<int64_t> sequence_lengths;
  /// Number of the first token in the run, which random numbers depend on.
  int64_t first_token = 0;
};

/// Puts a micro-batch together, one segment after the other.
class MicroBatchBuilder {
 public:
  /// The segments that follow are another sequence; without it all are one.
  void begin_sequence() { batch_.sequence_lengths.push_back(0); }
  /// Tokens ids[0 .. length) as a segment, each labelled with the id after it. With `length` ids
  /// the last token has no label; with length + 1 the id after the segment is its label.
  void add_segment(std::span<const int64_t> ids, int64_t length);

  MicroBatch finish();

 private:
  MicroBatch batch_;
  std::vector<int64_t> lengths_;
};

}  // namespace enodia
