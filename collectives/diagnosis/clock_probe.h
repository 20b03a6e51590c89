#pragma once

#include <functional>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// How far a rank's clock is ahead of rank 0's, in seconds.
struct ClockOffset {
  double seconds = 0.0;
  double error = 0.0;  ///< at most so far off: half the shortest round trip
};

/// The system's clock, since 1970.
double wall_seconds();

/// Asks every rank for the time, some twenty times, and believes the quickest answer, which was
/// given half a round trip ago (Cristian, Probabilistic clock synchronization, 1989). Collective;
/// rank 0 gets one offset a rank, its own zero, the others none. `now` reads this rank's clock in
/// seconds. Throws CommError.
std::vector<ClockOffset> measure_clocks(Communicator& communicator,
                                        const std::function<double()>& now = wall_seconds);

}  // namespace enodia
