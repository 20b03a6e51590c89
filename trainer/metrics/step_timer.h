#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "collectives/decorators/recording.h"
#include "common/json.h"

namespace enodia {

/// Where a step's time went on one rank, in milliseconds. Each instant counts once: what a rank
/// waits for communication is exposed, in whatever part of the step it happens; compute is the
/// rest.
struct StepTimes {
  double total = 0;
  double compute = 0;
  double data = 0;
  double optimizer = 0;
  std::array<double, kAllTraffic.size()> exposed{};
  double most_exposed = 0;  ///< all traffic, of the rank that waited longest
  /// Processor time of the communication thread, beside all of this; none without one.
  std::optional<double> communication_thread;

  double all_exposed() const;  ///< sum over the traffic
  Json to_json() const;
};

/// Splits the time from its construction on. Local.
class StepTimer {
 public:
  explicit StepTimer(const Recorder& recorder) : recorder_(recorder), start_(now()) {}

  /// Runs `work`; the part of the step grows by the time that was not exposed.
  template <typename Work>
  auto measure(double StepTimes::*part, const Work& work) {
    const Mark before = now();
    auto result = work();
    const Mark after = now();
    times_.*part += milliseconds(before, after) - exposed_ms(before, after);
    return result;
  }

  /// All but most_exposed, which only the ranks together know.
  StepTimes finish();
  /// Since the construction.
  CommunicationCounts communication() const { return recorder_.counts() - start_.counts; }

 private:
  struct Mark {
    std::chrono::steady_clock::time_point time;
    CommunicationCounts counts;
  };
  Mark now() const { return {std::chrono::steady_clock::now(), recorder_.counts()}; }
  static double milliseconds(const Mark& from, const Mark& to);
  static double exposed_ms(const Mark& from, const Mark& to);

  const Recorder& recorder_;
  const Mark start_;
  StepTimes times_;
};

}  // namespace enodia
