#pragma once

#include <array>
#include <cstdint>

#include "common/rules.h"

namespace enodia {

/// AdamW and gradient clipping (docs/numerics.md, "The update").
struct OptimOptions {
  std::array<double, 2> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;  ///< decoupled; norms, biases and the router never decay
  double clip_norm = 1.0;     ///< largest gradient norm; 0 = no clipping

  void check(Rules& rules) const;
};

enum class ScheduleKind : uint8_t { kCosine, kConstant };

/// The learning rate as a function of consumed samples: linear warm-up from 0 to `lr`, then a
/// cosine down to `min_lr` at `decay_samples` (constant afterwards), or constant `lr`.
struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kCosine;
  double lr = 1e-3;
  double min_lr = 0.0;
  int64_t warmup_samples = 0;
  int64_t decay_samples = 0;  ///< 0 = auto, the whole run: see TrainConfig::resolved_schedule()

  /// Ranges, and rules between the keys.
  void check(Rules& rules) const;
};

}  // namespace enodia
