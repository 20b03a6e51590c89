#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace enodia {
namespace {

/// What is left of the decay at x in [0, 1]: 1 at 0, exactly 0 at 1.
double remaining(Schedule::Shape shape, double x) {
  return shape == Schedule::Shape::kLinear ? 1.0 - x : 0.5 * (1.0 + std::cos(std::numbers::pi * x));
}

}  // namespace

Schedule place_schedule(const ScheduleOptions& options, int64_t run_samples) {
  Schedule schedule{
      .lr = options.lr, .min_lr = options.min_lr, .warmup_end = options.warmup_samples};
  switch (options.kind) {
    case ScheduleKind::kConstant:
      break;
    case ScheduleKind::kCosine:
    case ScheduleKind::kLinear:
      schedule.decay = options.kind == ScheduleKind::kCosine ? Schedule::Shape::kCosine
                                                             : Schedule::Shape::kLinear;
      schedule.decay_begin = options.warmup_samples;
      schedule.decay_end = options.decay_samples > 0 ? options.decay_samples : run_samples;
      break;
    case ScheduleKind::kWsd:
      schedule.decay = Schedule::Shape::kLinear;
      schedule.decay_begin = run_samples - options.wsd_decay(run_samples);
      schedule.decay_end = run_samples;
      break;
  }
  return schedule;
}

double learning_rate(const Schedule& schedule, int64_t consumed_samples) {
  const auto consumed = static_cast<double>(consumed_samples);
  if (consumed_samples < schedule.warmup_end) {
    return schedule.lr * consumed / static_cast<double>(schedule.warmup_end);
  }
  if (schedule.decay == Schedule::Shape::kConstant || consumed_samples < schedule.decay_begin) {
    return schedule.lr;
  }
  const auto begin = static_cast<double>(schedule.decay_begin);
  const double span = std::max(1.0, static_cast<double>(schedule.decay_end) - begin);
  const double progress = std::min(1.0, (consumed - begin) / span);
  return schedule.min_lr + (schedule.lr - schedule.min_lr) * remaining(schedule.decay, progress);
}

}  // namespace enodia
