#include "trainer/metrics/step_timer.h"

#include <numeric>
#include <string>

namespace enodia {
namespace {

constexpr double kNanosecondsPerMillisecond = 1e6;

}  // namespace

double StepTimes::all_exposed() const {
  return std::accumulate(exposed.begin(), exposed.end(), 0.0);
}

Json StepTimes::to_json() const {
  Json by_traffic = Json::object();
  for (const Traffic traffic : kAllTraffic) {
    by_traffic[std::string(name_of(traffic))] = exposed[static_cast<size_t>(traffic)];
  }
  Json json = {{"compute", compute},
               {"data", data},
               {"optimizer", optimizer},
               {"exposed", by_traffic},
               {"most_exposed", most_exposed}};
  if (communication_thread) {
    json["communication_thread"] = *communication_thread;
  }
  return json;
}

StepTimes StepTimer::finish() {
  const Mark end = now();
  const CommunicationCounts counts = end.counts - start_.counts;
  for (size_t i = 0; i < counts.traffic.size(); ++i) {
    times_.exposed[i] =
        static_cast<double>(counts.traffic[i].exposed_ns) / kNanosecondsPerMillisecond;
  }
  times_.total = milliseconds(start_, end);
  times_.compute = times_.total - times_.data - times_.optimizer - times_.all_exposed();
  return times_;
}

double StepTimer::milliseconds(const Mark& from, const Mark& to) {
  return std::chrono::duration<double, std::milli>(to.time - from.time).count();
}

double StepTimer::exposed_ms(const Mark& from, const Mark& to) {
  return static_cast<double>((to.counts - from.counts).exposed_ns()) / kNanosecondsPerMillisecond;
}

}  // namespace enodia
