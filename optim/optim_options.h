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

enum class ScheduleKind : uint8_t { kCosine, kLinear, kWsd, kConstant };

/// The learning rate as a function of consumed samples: linear warm-up from 0 to `lr`, then
/// - cosine, linear: down to `min_lr` at `decay_samples`, constant afterwards;
/// - wsd (warm-up, stable, decay; MiniCPM, arXiv 2404.06395, section 4): `lr`, and a linear decay
///   to `min_lr` over the last `decay_samples` of the run;
/// - constant: `lr`.
/// optim/schedule.h places it in a run.
struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kCosine;
  double lr = 1e-3;
  double min_lr = 0.0;
  int64_t warmup_samples = 0;
  int64_t decay_samples = 0;  ///< 0 = auto: the whole run; under wsd a tenth of it

  /// Length of the decay under wsd in a run of so many sequences. MiniCPM found 10 % to suffice.
  int64_t wsd_decay(int64_t run_samples) const;
  /// Ranges, and rules between the keys.
  void check(Rules& rules) const;
};

}  // namespace enodia
