#include "trainer/metrics/chrome_trace.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <tuple>

namespace enodia {
namespace {

using Clock = TraceSpan::Clock;

constexpr std::array<const char*, 3> kTrackNames{"compute", "waiting", "communication"};
constexpr int kThreadsOfTrack = 1000;  // more than operations can be under way

int thread_of(TraceTrack track, size_t lane) {
  return static_cast<int>(track) * kThreadsOfTrack + static_cast<int>(lane);
}

/// A thread of the trace. Spans come in order of start; `ends` are those of the open ones, inner
/// ones last.
struct Lane {
  std::vector<Clock::time_point> ends;

  /// Viewers draw what lies inside a span as called by it. That is true of what one thread did, but
  /// not of operations that happen to be under way together.
  bool take(const TraceSpan& span) {
    while (!ends.empty() && ends.back() <= span.start) {
      ends.pop_back();
    }
    const bool may_nest = span.track != TraceTrack::kCommunication;
    if (!ends.empty() && (!may_nest || span.end > ends.back())) {
      return false;
    }
    ends.push_back(span.end);
    return true;
  }
};

size_t choose_lane(std::vector<Lane>& lanes, const TraceSpan& span) {
  const auto taken =
      std::find_if(lanes.begin(), lanes.end(), [&](Lane& lane) { return lane.take(span); });
  if (taken != lanes.end()) {
    return static_cast<size_t>(taken - lanes.begin());
  }
  lanes.emplace_back().take(span);
  return lanes.size() - 1;
}

double microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

/// An event that gives a name or a place in the list to a process or a thread.
Json describe(const char* what, int rank, int thread, Json value) {
  return {{"name", what}, {"ph", "M"}, {"pid", rank}, {"tid", thread}, {"args", std::move(value)}};
}

Json describe(const TraceSpan& span, int thread, const RankSpans& of) {
  Json event = {{"name", span.name},
                {"ph", "X"},  // "complete": with a duration
                {"pid", of.rank},
                {"tid", thread},
                {"ts", microseconds(span.start - of.origin)},
                {"dur", microseconds(span.end - span.start)}};
  if (span.bytes >= 0) {
    event["args"]["bytes"] = span.bytes;
  }
  if (span.micro_batch >= 0) {
    event["args"]["micro_batch"] = span.micro_batch;
  }
  return event;
}

}  // namespace

std::string chrome_events(const RankSpans& of) {
  std::vector<TraceSpan> spans = of.spans;
  std::stable_sort(spans.begin(), spans.end(), [](const TraceSpan& a, const TraceSpan& b) {
    return std::tie(a.start, b.end) < std::tie(b.start, a.end);  // outer spans first
  });
  std::string text;
  const auto add = [&](const Json& event) { text += (text.empty() ? "" : ",\n") + event.dump(); };
  const std::string name = "rank " + std::to_string(of.rank) + " on " + of.host;
  add(describe("process_name", of.rank, 0, {{"name", name}}));
  add(describe("process_sort_index", of.rank, 0, {{"sort_index", of.rank}}));

  std::array<std::vector<Lane>, kTrackNames.size()> lanes;
  for (const TraceSpan& span : spans) {
    const size_t lane = choose_lane(lanes[static_cast<size_t>(span.track)], span);
    add(describe(span, thread_of(span.track, lane), of));
  }
  for (size_t track = 0; track < lanes.size(); ++track) {
    for (size_t lane = 0; lane < lanes[track].size(); ++lane) {
      const int thread = thread_of(static_cast<TraceTrack>(track), lane);
      const std::string number = lane > 0 ? " " + std::to_string(lane + 1) : "";
      add(describe("thread_name", of.rank, thread, {{"name", kTrackNames[track] + number}}));
      add(describe("thread_sort_index", of.rank, thread, {{"sort_index", thread}}));
    }
  }
  return text;
}

std::string chrome_trace(std::span<const std::string> events_of_ranks, const Json& about) {
  std::string text =
      R"({"displayTimeUnit":"ms","otherData":)" + about.dump() + ",\"traceEvents\":[";
  const char* separator = "\n";
  for (const std::string& events : events_of_ranks) {
    text += separator + events;
    separator = ",\n";
  }
  return text + "\n]}\n";
}

}  // namespace enodia
