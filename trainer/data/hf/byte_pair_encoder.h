#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "trainer/data/hf/byte_pair_model.h"

namespace enodia {

/// Merges the characters of pieces into tokens. Keeps its working memory between pieces; one for
/// each thread.
class BytePairEncoder {
 public:
  explicit BytePairEncoder(const BytePairModel& model) : model_(model) {}

  /// Appends the ids of a piece of valid UTF-8. Of n characters, takes n log n time.
  void append_ids(std::string_view piece, std::vector<int64_t>& ids);

 private:
  /// A link of the chain of tokens that stand so far.
  struct Link {
    int32_t id;
    int32_t before;  // kEnd at the ends
    int32_t after;
    bool gone;  // merged into the one before
  };
  /// A merge that was possible when it was found.
  struct Candidate {
    PairMerge merge;
    int32_t left;
  };

  void start(std::string_view piece);
  void add(int32_t id);
  void add_unknown(std::string_view character, bool& pending);
  void consider(int32_t left);
  void merge_all();

  const BytePairModel& model_;
  std::vector<Link> chain_;
  std::vector<Candidate> queue_;  // a heap, the first merge on top
};

}  // namespace enodia
