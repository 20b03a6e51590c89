#include "collectives/diagnosis/clock_probe.h"

#include <array>
#include <chrono>

#include "collectives/diagnosis/point_to_point.h"

namespace enodia {
namespace {

constexpr int kQuestions = 20;

ClockOffset ask(Communicator& communicator, int rank, const std::function<double()>& now) {
  ClockOffset best;
  for (int i = 0; i < kQuestions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const double asked = now();
    std::array<double, 1> answer{};
    send(communicator, rank, view_all(answer)).wait();
    receive(communicator, rank, view_all(answer)).wait();
    const double trip =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i == 0 || trip / 2.0 < best.error) {
      best = {answer[0] - (asked + trip / 2.0), trip / 2.0};
    }
  }
  return best;
}

}  // namespace

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<ClockOffset> measure_clocks(Communicator& communicator,
                                        const std::function<double()>& now) {
  if (communicator.rank() != 0) {
    for (int i = 0; i < kQuestions; ++i) {
      std::array<double, 1> answer{};
      receive(communicator, 0, view_all(answer)).wait();
      answer[0] = now();
      send(communicator, 0, view_all(answer)).wait();
    }
    return {};
  }
  std::vector<ClockOffset> offsets(1);
  for (int rank = 1; rank < communicator.world_size(); ++rank) {
    offsets.push_back(ask(communicator, rank, now));
  }
  return offsets;
}

}  // namespace enodia
