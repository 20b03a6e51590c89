#include "common/trace.h"

#include <gtest/gtest.h>

namespace enodia {
namespace {

TEST(ScopedSpan, CoversItsLifetimeWhileTheTraceIsOn) {
  Trace trace;
  trace.switch_on();
  const auto before = TraceSpan::Clock::now();
  {
    const ScopedSpan outer(&trace, TraceTrack::kCompute, [] { return "outer"; });
    const ScopedSpan inner(
        &trace, TraceTrack::kWaiting, [] { return "inner"; }, 3);
  }
  const auto after = TraceSpan::Clock::now();
  const std::vector<TraceSpan> spans = trace.take();
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[0].name, "inner");
  EXPECT_EQ(spans[0].track, TraceTrack::kWaiting);
  EXPECT_EQ(spans[0].micro_batch, 3);
  EXPECT_EQ(spans[1].name, "outer");
  EXPECT_EQ(spans[1].bytes, -1);
  EXPECT_LE(before, spans[1].start);
  EXPECT_LE(spans[1].start, spans[0].start);
  EXPECT_LE(spans[0].start, spans[0].end);
  EXPECT_LE(spans[0].end, spans[1].end);
  EXPECT_LE(spans[1].end, after);
}

TEST(ScopedSpan, CostsNoNameWhileTheTraceIsOff) {
  Trace trace;
  int asked = 0;
  const auto name = [&] {
    ++asked;
    return "never";
  };
  {
    const ScopedSpan off(&trace, TraceTrack::kCompute, name);
    const ScopedSpan none(nullptr, TraceTrack::kCompute, name);
    trace.switch_on();  // in the middle of a span, which is then left out
  }
  EXPECT_EQ(asked, 0);
  EXPECT_TRUE(trace.take().empty());
}

}  // namespace
}  // namespace enodia
