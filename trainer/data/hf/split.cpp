#include "trainer/data/hf/split.h"

#include <algorithm>
#include <map>

#include "common/wording.h"

namespace enodia {
namespace {

/// A match, or what lies between two.
struct Segment {
  TextRange range;
  bool matched;
};

std::vector<Segment> segments_of(std::string_view text, const Splitter& splitter) {
  std::vector<Segment> segments;
  size_t done = 0;
  for (const TextRange& match : splitter.pattern(text)) {
    if (match.begin > done) {
      segments.push_back({{done, match.begin}, splitter.inverted});
    }
    segments.push_back({match, !splitter.inverted});
    done = match.end;
  }
  if (done < text.size()) {
    segments.push_back({{done, text.size()}, splitter.inverted});
  }
  return segments;
}

/// Joins each segment for which `joins(segment, one before)` holds to the one before it.
template <typename Joins>
std::vector<TextRange> join(const std::vector<Segment>& segments, const Joins& joins) {
  std::vector<TextRange> ranges;
  bool before = false;
  for (const Segment& segment : segments) {
    if (!ranges.empty() && joins(segment.matched, before)) {
      ranges.back().begin = std::min(ranges.back().begin, segment.range.begin);
      ranges.back().end = std::max(ranges.back().end, segment.range.end);
    } else {
      ranges.push_back(segment.range);
    }
    before = segment.matched;
  }
  return ranges;
}

}  // namespace

std::vector<TextRange> Splitter::operator()(std::string_view text) const {
  std::vector<Segment> segments = segments_of(text, *this);
  const auto first_match = [](bool matched, bool before) { return matched && !before; };
  switch (behavior) {
    case SplitBehavior::kRemoved:
      std::erase_if(segments, [](const Segment& segment) { return segment.matched; });
      return join(segments, [](bool, bool) { return false; });
    case SplitBehavior::kMergedWithPrevious:
      return join(segments, first_match);
    case SplitBehavior::kMergedWithNext: {
      std::reverse(segments.begin(), segments.end());
      std::vector<TextRange> ranges = join(segments, first_match);
      std::reverse(ranges.begin(), ranges.end());
      return ranges;
    }
    case SplitBehavior::kContiguous:
      return join(segments, [](bool matched, bool before) { return matched == before; });
    default:
      return join(segments, [](bool, bool) { return false; });
  }
}

SplitBehavior read_split_behavior(const JsonField& name) {
  static const std::map<std::string, SplitBehavior> behaviors{
      {"Isolated", SplitBehavior::kIsolated},
      {"Removed", SplitBehavior::kRemoved},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  const auto found = behaviors.find(name.text());
  if (found == behaviors.end()) {
    name.fail(quote(name.text()) +
              " must be Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
  }
  return found->second;
}

}  // namespace enodia
