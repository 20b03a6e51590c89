#include "optim/optim_options.h"

#include <algorithm>
#include <cmath>

#include "common/sentence.h"

namespace enodia {

void OptimOptions::check(Rules& rules) const {
  const bool betas_fit = betas[0] >= 0 && betas[0] < 1 && betas[1] >= 0 && betas[1] < 1;
  rules.bound(
      betas_fit, "betas (", betas[0], ", ", betas[1], ") must each be at least 0 and below 1");
  rules.bound(std::isfinite(eps) && eps > 0, "eps (", eps, ") must be above 0 and finite");
  rules.bound(std::isfinite(weight_decay) && weight_decay >= 0,
              "weight_decay (",
              weight_decay,
              ") must be finite and not below 0");
  rules.bound(std::isfinite(clip_norm) && clip_norm >= 0,
              "clip_norm (",
              clip_norm,
              ") must be finite and not below 0; 0 turns clipping off");
}

int64_t ScheduleOptions::wsd_decay(int64_t run_samples) const {
  return decay_samples > 0 ? decay_samples : std::max<int64_t>(1, run_samples / 10);
}

void ScheduleOptions::check(Rules& rules) const {
  rules.bound(std::isfinite(lr) && lr > 0, "lr (", lr, ") must be above 0 and finite");
  rules.bound(
      std::isfinite(min_lr) && min_lr >= 0, "min_lr (", min_lr, ") must be finite and not below 0");
  rules.bound(warmup_samples >= 0, "warmup_samples (", warmup_samples, ") must not be below 0");
  rules.bound(decay_samples >= 0,
              "decay_samples (",
              decay_samples,
              ") must be at least 1, or 0 for the whole run");
  if (!rules.sound()) {
    return;
  }
  const bool decays = kind != ScheduleKind::kConstant;
  const bool decays_until = kind == ScheduleKind::kCosine || kind == ScheduleKind::kLinear;
  rules.relate(!decays || min_lr <= lr,
               "min_lr (",
               min_lr,
               ") must not exceed lr (",
               lr,
               "); set it to at most ",
               shortest(lr));
  rules.relate(!decays_until || decay_samples == 0 || warmup_samples <= decay_samples,
               "warmup_samples (",
               warmup_samples,
               ") must not exceed decay_samples (",
               decay_samples,
               "); set it to at most ",
               decay_samples,
               ", or decay_samples to auto");
  rules.relate(decays || min_lr == 0,
               "min_lr (",
               min_lr,
               ") must be 0 while schedule (constant) is constant; set it to 0");
  rules.relate(decays || decay_samples == 0,
               "decay_samples (",
               decay_samples,
               ") must be auto while schedule (constant) is constant; set it to auto");
}

}  // namespace enodia
