#include "trainer/step/step_schedule.h"

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include <gmock/gmock.h>

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Embedding, attention, MoE of five phases whose fourth fetches, attention, MoE, head.
const std::vector<int> kPhases{1, 1, 5, 1, 5, 1};
const std::vector<int> kFetching{-1, -1, 3, -1, 3, -1};

/// A phase that needs what was fetched, or the freeing of it.
struct Event {
  char what;  // 'g' gets, 'u' uses, 'f' frees
  int micro_batch, block;
  bool operator==(const Event&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Event& event) {
    return out << event.what << event.micro_batch << "/" << event.block;
  }
};

const std::vector<bool> kNone{}, kAll(kPhases.size(), true);
const std::vector<bool> kLast{false, false, false, false, true, false};

std::vector<Event> events_of(const StepSchedule& schedule, const std::vector<bool>& kept) {
  std::vector<Event> events;
  const auto add = [&](char what, const PhaseCall& call) {
    events.push_back({what, call.micro_batch, call.block});
  };
  const std::vector<Fetching> fetching = plan_fetching(schedule, kFetching, kept);
  for (size_t i = 0; i < schedule.size(); ++i) {
    if (fetching[i].prefetch) {
      add('g', schedule[*fetching[i].prefetch]);
    }
    if (schedule[i].phase == kFetching[schedule[i].block] &&
        schedule[i].direction != Direction::kRecompute) {
      add('u', schedule[i]);
    }
    if (fetching[i].release) {
      add('f', schedule[i]);
    }
  }
  return events;
}

TEST(Fetching, IsUnderWayWhileTheOneBeforeComputes) {
  EXPECT_THAT(events_of(accumulation_schedule(kPhases, 1), kNone),
              ElementsAre(Event{'g', 0, 2},
                          Event{'g', 0, 4},
                          Event{'u', 0, 2},
                          Event{'f', 0, 2},
                          Event{'g', 0, 4},  // for backward: it stays, so nothing is to be done
                          Event{'u', 0, 4},
                          Event{'g', 0, 2},
                          Event{'u', 0, 4},
                          Event{'f', 0, 4},
                          Event{'u', 0, 2},
                          Event{'f', 0, 2}));
}

TEST(Fetching, LeavesOutWhatIsKept) {
  // Four MoE layers, of which the last two are kept.
  const std::vector<int> phases(4, 1);
  const std::vector<int> fetching_phases(4, 0);
  const auto schedule = accumulation_schedule(phases, 1);
  const std::vector<Fetching> fetching =
      plan_fetching(schedule, fetching_phases, {false, false, true, true});
  std::vector<int32_t> freed;
  for (size_t i = 0; i < schedule.size(); ++i) {
    if (fetching[i].release) {
      freed.push_back(schedule[i].block);
    }
  }
  EXPECT_THAT(freed, ElementsAre(0, 1, 3, 2, 1, 0));
}

TEST(Fetching, BeginsWithTheFirstCallOfTheSchedule) {
  const auto fetching = plan_fetching(accumulation_schedule(kPhases, 2), kFetching);
  EXPECT_EQ(fetching.front().prefetch, std::optional<size_t>(5));
}

/// What is here at once, at most; every use finds what it needs, and nothing is left over.
size_t most_at_once(const StepSchedule& schedule, const std::vector<bool>& kept) {
  std::set<std::pair<int, int>> here;
  size_t most = 0;
  for (const Event& event : events_of(schedule, kept)) {
    const std::pair<int, int> pass(event.micro_batch, event.block);
    if (event.what == 'g') {
      here.insert(pass);
      most = std::max(most, here.size());
    } else if (event.what == 'u') {
      EXPECT_TRUE(here.contains(pass)) << event;
    } else {
      EXPECT_EQ(here.erase(pass), 1) << event;
    }
  }
  EXPECT_THAT(here, IsEmpty());
  return most;
}

TEST(Fetching, HoldsTwoBlocksAtMostUnlessItKeepsThem) {
  for (const int micro_batches : {1, 2, 5}) {
    for (const bool recomputed : {false, true}) {
      const auto schedule = accumulation_schedule(
          kPhases, micro_batches, std::vector<bool>(kPhases.size(), recomputed));
      EXPECT_EQ(most_at_once(schedule, kNone), 2);
      EXPECT_EQ(most_at_once(schedule, kLast), 2);
      EXPECT_EQ(most_at_once(schedule, kAll), 2);  // as many as there are, with two layers
    }
  }
  EXPECT_EQ(most_at_once(forward_schedule(kPhases), kNone), 2);
}

TEST(Fetching, IsNothingForADenseModel) {
  const std::vector<int> none(kPhases.size(), -1);
  for (const Fetching& fetching : plan_fetching(accumulation_schedule(kPhases, 2), none)) {
    EXPECT_EQ(fetching, Fetching());
  }
}

}  // namespace
}  // namespace enodia
