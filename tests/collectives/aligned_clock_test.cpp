#include "collectives/aligned_clock.h"

#include <vector>

#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"

namespace enodia {
namespace {

using Clock = AlignedClock::Clock;

TEST(AlignedClock, FindsHowFarClocksLieApart) {
  for (const int world_size : {1, 2, 3, 4}) {
    std::vector<AlignedClock> clocks(world_size);
    // Threads of one process share a clock: each rank is given another wrong one.
    const auto wrong_by = [](int rank) { return std::chrono::hours((rank % 2 ? -1 : 1) * rank); };
    run_loopback(world_size, [&](Communicator& world) {
      clocks[world.rank()] =
          align_clocks(world, [&] { return Clock::now() + wrong_by(world.rank()); });
    });
    for (int rank = 1; rank < world_size; ++rank) {
      const Clock::duration off =
          clocks[rank].origin - wrong_by(rank) - clocks[0].origin + wrong_by(0);
      EXPECT_LE(std::chrono::abs(off), clocks[rank].error) << "rank " << rank;
      EXPECT_GT(clocks[rank].error, Clock::duration::zero());
      EXPECT_LE(clocks[rank].error, clocks[0].error) << "rank 0 knows the largest";
    }
    EXPECT_EQ(clocks[0].error == Clock::duration::zero(), world_size == 1);
  }
}

TEST(AlignedClock, TheShortestRoundTripDecides) {
  Clock::duration error{};
  run_loopback(2, [&](Communicator& world) {
    // Rank 0's clock, read at the start and twice a round, makes the fifth round 10 ns long and
    // every other a second.
    int reading = 0;
    Clock::time_point time;
    const auto scripted = [&] {
      const bool ends_a_round = reading > 0 && reading % 2 == 0;
      const bool fifth = reading == 10;
      ++reading;
      return time += ends_a_round ? fifth ? Clock::duration(10) : std::chrono::seconds(1)
                                  : Clock::duration(0);
    };
    const AlignedClock clock =
        world.rank() == 0 ? align_clocks(world, scripted) : align_clocks(world);
    if (world.rank() == 1) {
      error = clock.error;
    }
  });
  EXPECT_EQ(error, Clock::duration(5));
}

}  // namespace
}  // namespace enodia
