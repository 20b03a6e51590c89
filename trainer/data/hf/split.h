#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/hf/pattern.h"

namespace enodia {

/// What becomes of the matches of a pattern at which a text is cut.
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// Cuts a text at the matches of a pattern, or, inverted, at what lies between them.
struct Splitter {
  Pattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool inverted = false;

  std::vector<TextRange> operator()(std::string_view text) const;
};

/// The behavior of this name: "Isolated", "MergedWithNext" and so on. Throws FileError.
SplitBehavior read_split_behavior(const JsonField& name);

}  // namespace enodia
