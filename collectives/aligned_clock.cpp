#include "collectives/aligned_clock.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace enodia {
namespace {

using Clock = AlignedClock::Clock;

constexpr int kRounds = 10;

void send(Communicator& communicator, std::span<int64_t> values, int peer) {
  communicator.exchange(std::vector<Message>{{peer, view(values)}}, {}).wait();
}

void receive(Communicator& communicator, std::span<int64_t> values, int peer) {
  communicator.exchange({}, std::vector<Message>{{peer, view(values)}}).wait();
}

/// Ticks of the peer's clock at `origin` of ours, and how far off that may be.
std::array<int64_t, 2> ask(Communicator& communicator,
                           int peer,
                           Clock::time_point origin,
                           const std::function<Clock::time_point()>& now) {
  std::array<int64_t, 2> best{0, std::numeric_limits<int64_t>::max()};
  for (int round = 0; round < kRounds; ++round) {
    std::array<int64_t, 1> theirs{};
    const Clock::time_point asked = now();
    send(communicator, theirs, peer);
    receive(communicator, theirs, peer);
    const Clock::duration error = (now() - asked + Clock::duration(1)) / 2;
    if (error.count() < best[1]) {
      best = {theirs[0] - (asked + error - origin).count(), error.count()};
    }
  }
  return best;
}

}  // namespace

AlignedClock align_clocks(Communicator& communicator,
                          const std::function<Clock::time_point()>& now) {
  communicator.barrier();
  if (communicator.rank() == 0) {
    AlignedClock clock{now(), {}};
    for (int peer = 1; peer < communicator.world_size(); ++peer) {
      std::array<int64_t, 2> found = ask(communicator, peer, clock.origin, now);
      send(communicator, found, peer);
      clock.error = std::max(clock.error, Clock::duration(found[1]));
    }
    return clock;
  }
  for (int round = 0; round < kRounds; ++round) {
    std::array<int64_t, 1> time{};
    receive(communicator, time, 0);
    time[0] = now().time_since_epoch().count();
    send(communicator, time, 0);
  }
  std::array<int64_t, 2> found{};
  receive(communicator, found, 0);
  return {Clock::time_point(Clock::duration(found[0])), Clock::duration(found[1])};
}

}  // namespace enodia
