#pragma once

#include <span>
#include <string>
#include <vector>

#include "common/json.h"
#include "common/trace.h"

namespace enodia {

/// The spans of one rank.
struct RankSpans {
  int rank;
  std::string host;
  TraceSpan::Clock::time_point origin;  ///< where the file's time begins, on this rank's clock
  std::vector<TraceSpan> spans;
};

/// One rank's part of a file in the Trace Event Format of Chrome and Perfetto: the rank is a
/// process, each track a thread; operations under way at the same time get threads of their own
/// ("communication 2"). Times in microseconds. Local.
std::string chrome_events(const RankSpans& spans);

/// The whole file from the parts of all ranks; `about` is shown as the trace's metadata.
std::string chrome_trace(std::span<const std::string> events_of_ranks, const Json& about);

}  // namespace enodia
