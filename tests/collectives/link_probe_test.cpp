#include "collectives/diagnosis/link_probe.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/diagnosis/clock_probe.h"
#include "collectives/diagnosis/patience.h"
#include "collectives/loopback/loopback.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Pair = std::pair<int, int>;

TEST(SchedulePairs, HasEveryPairOnceAndNoNodeTwiceInARound) {
  for (const auto& nodes :
       std::vector<std::vector<int>>{{0}, {0, 0}, {0, 1, 2}, {0, 0, 1, 1}, {0, 1, 0, 2, 2, 2, 3}}) {
    std::set<Pair> seen;
    size_t pairs = 0;
    for (const auto& round : schedule_pairs(nodes, /*concurrent=*/true)) {
      std::set<int> busy;
      for (const auto& [low, high] : round) {
        EXPECT_LT(low, high);
        EXPECT_TRUE(busy.insert(nodes[low]).second);
        EXPECT_TRUE(nodes[low] == nodes[high] || busy.insert(nodes[high]).second);
        seen.insert({low, high});
        ++pairs;
      }
    }
    EXPECT_EQ(pairs, nodes.size() * (nodes.size() - 1) / 2);
    EXPECT_EQ(seen.size(), pairs);
  }
}

TEST(SchedulePairs, TakesOnePairAtATimeWhenCoresAreFew) {
  EXPECT_THAT(schedule_pairs(std::vector<int>{0, 1, 2, 3}, /*concurrent=*/false), SizeIs(6));
  EXPECT_THAT(schedule_pairs(std::vector<int>{0, 1, 2, 3}, /*concurrent=*/true), SizeIs(3));
}

TEST(MeasureLinks, GivesRankZeroEveryPairAndTheOthersNone) {
  for (const bool concurrent : {false, true}) {
    for (const int ranks : {1, 2, 3, 5}) {
      std::vector<int> nodes;
      for (int rank = 0; rank < ranks; ++rank) {
        nodes.push_back(rank / 2);
      }
      run_loopback(
          ranks,
          [&](Communicator& communicator) {
            size_t rounds = 0;
            LinkProbeOptions options{0.1, concurrent, [&](size_t, size_t, auto) { ++rounds; }};
            const std::vector<Link> links = measure_links(communicator, options);
            if (communicator.rank() != 0) {
              EXPECT_THAT(links, IsEmpty());
              return;
            }
            std::vector<Pair> pairs, expected;
            for (const Link& link : links) {
              pairs.emplace_back(link.low, link.high);
              EXPECT_GT(link.quickest_us, 0.0);
              EXPECT_LE(link.quickest_us, link.latency_us);
              EXPECT_GT(link.up_mbit, 0.0);
              EXPECT_GT(link.down_mbit, 0.0);
            }
            for (int low = 0; low < ranks; ++low) {
              for (int high = low + 1; high < ranks; ++high) {
                expected.emplace_back(low, high);
              }
            }
            EXPECT_EQ(pairs, expected);
            EXPECT_GE(rounds, schedule_pairs(nodes, concurrent).size());
          },
          nodes);
    }
  }
}

TEST(BetterOf, KeepsTheBestOfEachFigure) {
  const Link best = better_of({0, 1, 5.0, 2.0, 100.0, 900.0}, {0, 1, 4.0, 3.0, 800.0, 90.0});
  EXPECT_EQ(best.latency_us, 4.0);
  EXPECT_EQ(best.quickest_us, 2.0);
  EXPECT_EQ(best.up_mbit, 800.0);
  EXPECT_EQ(best.down_mbit, 900.0);
}

TEST(MeasureClocks, FindsThatThreadsOfOneProcessShareAClock) {
  run_loopback(3, [](Communicator& communicator) {
    const std::vector<ClockOffset> offsets = measure_clocks(communicator);
    EXPECT_EQ(offsets.size(), communicator.rank() == 0 ? 3u : 0u);
    for (const ClockOffset& offset : offsets) {
      EXPECT_LE(std::abs(offset.seconds), offset.error + 1e-3);
    }
  });
}

TEST(MeasureClocks, FindsHowFarClocksLieApart) {
  for (const int world_size : {1, 2, 3, 4}) {
    run_loopback(world_size, [&](Communicator& communicator) {
      // Rank 1's clock is an hour slow, rank 2's two hours fast, ...
      const auto wrong_by = [](size_t rank) {
        return (rank % 2 == 0 ? 3600.0 : -3600.0) * static_cast<double>(rank);
      };
      const std::vector<ClockOffset> offsets = measure_clocks(communicator, [&] {
        const std::chrono::duration<double> now =
            std::chrono::steady_clock::now().time_since_epoch();
        return now.count() + wrong_by(static_cast<size_t>(communicator.rank()));
      });
      for (size_t rank = 0; rank < offsets.size(); ++rank) {
        const double off = offsets[rank].seconds - wrong_by(rank);
        EXPECT_LE(std::abs(off), offsets[rank].error + 1e-6) << "rank " << rank;
        EXPECT_EQ(offsets[rank].error > 0, rank > 0);
      }
    });
  }
}

TEST(Patience, GivesUpOnAStageThatDoesNotEndAndNamesIt) {
  std::mutex mutex;
  std::condition_variable said;
  std::vector<std::string> stages;
  Patience patience(std::chrono::milliseconds(1), [&](const std::string& stage) {
    const std::lock_guard lock(mutex);
    stages.push_back(stage);
    said.notify_all();
  });
  patience.expect("");  // may last
  patience.expect("waiting for rank 3");
  std::unique_lock lock(mutex);
  said.wait(lock, [&] { return !stages.empty(); });
  EXPECT_THAT(stages, ElementsAre("waiting for rank 3"));
}

TEST(Patience, EndsAtOnceWhenAllIsWell) {
  Patience patience(std::chrono::hours(1), [](const std::string&) { FAIL(); });
  patience.expect("a short stage");
}

}  // namespace
}  // namespace enodia
