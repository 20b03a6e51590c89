#pragma once

#include <cstdint>

#include "optim/optim_options.h"

namespace enodia {

/// The learning rate over a run, in consumed samples n: it rises linearly from 0 to lr at
/// warmup_end, stays there until decay_begin, falls to min_lr at decay_end and stays.
struct Schedule {
  enum class Shape : uint8_t { kConstant, kLinear, kCosine };

  double lr = 1e-3;
  double min_lr = 0.0;
  int64_t warmup_end = 0;
  Shape decay = Shape::kConstant;  ///< kConstant: there is none
  int64_t decay_begin = 0;
  int64_t decay_end = 0;
};

/// Places the options in a run of `run_samples` sequences. `auto` is the whole run, or a tenth of
/// it for wsd (at least one sequence).
Schedule place_schedule(const ScheduleOptions& options, int64_t run_samples);

/// The learning rate of the step after which `consumed_samples` sequences have been seen. A pure
/// function, so that a resumed run needs no state. With x = (n - begin) / (end - begin), the decay
/// is min_lr + (lr - min_lr) (1 - x) or min_lr + (lr - min_lr) (1 + cos(pi x)) / 2.
double learning_rate(const Schedule& schedule, int64_t consumed_samples);

}  // namespace enodia
