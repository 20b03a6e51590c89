#pragma once

#include <cstdint>

#include "optim/optim_options.h"

namespace enodia {

/// The learning rate of the step after which `consumed_samples` sequences have been seen: a linear
/// warm-up, then constant or a cosine from lr to min_lr that ends at decay_samples. A pure
/// function, so that a resumed run needs no state.
double learning_rate(const ScheduleOptions& options, int64_t consumed_samples);

}  // namespace enodia
