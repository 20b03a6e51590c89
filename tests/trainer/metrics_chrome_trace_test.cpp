#include <chrono>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "trainer/metrics/chrome_trace.h"

namespace enodia {
namespace {

using Clock = TraceSpan::Clock;

Clock::time_point at(int64_t microseconds) {
  return Clock::time_point(std::chrono::microseconds(1'000'000 + microseconds));
}

TraceSpan span(TraceTrack track, const std::string& name, int64_t start, int64_t end) {
  return {track, name, at(start), at(end)};
}

Json parse(const std::vector<TraceSpan>& spans, int rank = 0) {
  const std::vector<std::string> parts{chrome_events({rank, "node7", at(0), spans})};
  return parse_json(chrome_trace(parts, {{"ranks", 1}}), "trace");
}

/// Thread of each span, by name; the name of each thread.
std::map<std::string, int> threads_of_spans(const Json& file) {
  std::map<std::string, int> threads;
  for (const Json& event : file["traceEvents"]) {
    if (event["ph"] == "X") {
      threads[event["name"]] = event["tid"];
    }
  }
  return threads;
}
std::map<int, std::string> names_of_threads(const Json& file) {
  std::map<int, std::string> names;
  for (const Json& event : file["traceEvents"]) {
    if (event["name"] == "thread_name") {
      names[event["tid"]] = event["args"]["name"];
    }
  }
  return names;
}

TEST(ChromeTrace, SpansTellTheirTimesAndArguments) {
  TraceSpan exchange = span(TraceTrack::kCommunication, "tokens \"57\"\n", 10, 35);
  exchange.bytes = 4096;
  exchange.start += std::chrono::nanoseconds(500);
  TraceSpan phase = span(TraceTrack::kCompute, "layer 0 gate forward", 5, 6);
  phase.micro_batch = 2;
  const Json file = parse({exchange, phase}, 3);
  EXPECT_EQ(file["otherData"]["ranks"], 1);
  std::map<std::string, Json> events;
  for (const Json& event : file["traceEvents"]) {
    EXPECT_EQ(event["pid"], 3);
    events[event["name"]] = event;
  }
  EXPECT_EQ(events["process_name"]["args"]["name"], "rank 3 on node7");
  EXPECT_EQ(events["tokens \"57\"\n"]["ts"], 10.5);
  EXPECT_EQ(events["tokens \"57\"\n"]["dur"], 24.5);
  EXPECT_EQ(events["tokens \"57\"\n"]["args"], Json({{"bytes", 4096}}));
  EXPECT_EQ(events["layer 0 gate forward"]["args"], Json({{"micro_batch", 2}}));
}

TEST(ChromeTrace, EachTrackIsAThreadAndNestedWorkSharesOne) {
  const Json file = parse({span(TraceTrack::kCompute, "phase", 0, 50),
                           span(TraceTrack::kWaiting, "wait", 10, 20),
                           span(TraceTrack::kCommunication, "exchange", 5, 20),
                           span(TraceTrack::kCompute, "step", 0, 100),
                           span(TraceTrack::kCompute, "next", 50, 100)});
  auto threads = threads_of_spans(file);
  auto names = names_of_threads(file);
  EXPECT_EQ(threads["step"], threads["phase"]);
  EXPECT_EQ(threads["step"], threads["next"]);
  EXPECT_EQ(names[threads["step"]], "compute");
  EXPECT_EQ(names[threads["wait"]], "waiting");
  EXPECT_EQ(names[threads["exchange"]], "communication");
  EXPECT_EQ(names.size(), 3U);
}

TEST(ChromeTrace, OperationsUnderWayTogetherGetThreadsOfTheirOwn) {
  const Json file = parse({span(TraceTrack::kCommunication, "a", 0, 30),
                           span(TraceTrack::kCommunication, "inside a", 10, 20),
                           span(TraceTrack::kCommunication, "over both", 15, 40),
                           span(TraceTrack::kCommunication, "after inside", 20, 25),
                           span(TraceTrack::kCommunication, "after a", 30, 35)});
  auto threads = threads_of_spans(file);
  auto names = names_of_threads(file);
  EXPECT_EQ(names[threads["a"]], "communication");
  EXPECT_EQ(names[threads["inside a"]], "communication 2");
  EXPECT_EQ(names[threads["over both"]], "communication 3");
  EXPECT_EQ(threads["after inside"], threads["inside a"]);
  EXPECT_EQ(threads["after a"], threads["a"]);
}

TEST(ChromeTrace, ARankWithoutSpansIsStillThere) {
  const Json file = parse({}, 1);
  EXPECT_EQ(file["traceEvents"][0]["args"]["name"], "rank 1 on node7");
}

}  // namespace
}  // namespace enodia
