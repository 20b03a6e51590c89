#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace enodia {

double learning_rate(const ScheduleOptions& options, int64_t consumed_samples) {
  const auto consumed = static_cast<double>(consumed_samples);
  const auto warmup = static_cast<double>(options.warmup_samples);
  if (consumed < warmup) {
    return options.lr * consumed / warmup;
  }
  if (options.kind == ScheduleKind::kConstant) {
    return options.lr;
  }
  const double span = std::max(1.0, static_cast<double>(options.decay_samples) - warmup);
  const double progress = std::min(1.0, (consumed - warmup) / span);
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return options.min_lr + (options.lr - options.min_lr) * cosine;
}

}  // namespace enodia
