#pragma once

#include <chrono>
#include <functional>

#include "collectives/communicator.h"

namespace enodia {

/// A moment that all ranks agree on, as each one's steady clock shows it.
struct AlignedClock {
  using Clock = std::chrono::steady_clock;
  Clock::time_point origin;
  /// At most so far from rank 0's; on rank 0 the largest of all ranks.
  Clock::duration error;
};

/// Measures how far the clocks lie apart: rank 0 asks every other rank in turn for its time, ten
/// times; the answer of the shortest round trip was given in its middle, half a round trip more or
/// less (Cristian 1989, "Probabilistic clock synchronization"). `now` reads this rank's clock.
/// Collective.
AlignedClock align_clocks(
    Communicator& communicator,
    const std::function<AlignedClock::Clock::time_point()>& now = AlignedClock::Clock::now);

}  // namespace enodia
