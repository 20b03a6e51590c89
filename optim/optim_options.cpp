#include "optim/optim_options.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace enodia {
namespace {

template <typename... Words>
void require(bool holds, std::vector<std::string>& broken, const Words&... sentence) {
  if (!holds) {
    broken.push_back(detail::concat(sentence...));
  }
}

}  // namespace

std::vector<std::string> OptimOptions::violations() const {
  std::vector<std::string> broken;
  const bool betas_fit = betas[0] >= 0 && betas[0] < 1 && betas[1] >= 0 && betas[1] < 1;
  require(betas_fit,
          broken,
          "betas (",
          betas[0],
          ", ",
          betas[1],
          ") must each be at least 0 and below 1");
  require(std::isfinite(eps) && eps > 0, broken, "eps (", eps, ") must be above 0 and finite");
  require(std::isfinite(weight_decay) && weight_decay >= 0,
          broken,
          "weight_decay (",
          weight_decay,
          ") must be finite and not below 0");
  require(std::isfinite(clip_norm) && clip_norm >= 0,
          broken,
          "clip_norm (",
          clip_norm,
          ") must be finite and not below 0; 0 turns clipping off");
  return broken;
}

int64_t ScheduleOptions::wsd_decay(int64_t run_samples) const {
  return decay_samples > 0 ? decay_samples : std::max<int64_t>(1, run_samples / 10);
}

std::vector<std::string> ScheduleOptions::violations() const {
  std::vector<std::string> broken;
  require(std::isfinite(lr) && lr > 0, broken, "lr (", lr, ") must be above 0 and finite");
  require(std::isfinite(min_lr) && min_lr >= 0,
          broken,
          "min_lr (",
          min_lr,
          ") must be finite and not below 0");
  require(warmup_samples >= 0, broken, "warmup_samples (", warmup_samples, ") must not be below 0");
  require(decay_samples >= 0,
          broken,
          "decay_samples (",
          decay_samples,
          ") must be at least 1, or 0 for the whole run");
  if (!broken.empty()) {
    return broken;
  }
  const bool decays = kind != ScheduleKind::kConstant;
  require(!decays || min_lr <= lr, broken, "min_lr (", min_lr, ") must not exceed lr (", lr, ")");
  const bool decays_until = kind == ScheduleKind::kCosine || kind == ScheduleKind::kLinear;
  require(!decays_until || decay_samples == 0 || warmup_samples <= decay_samples,
          broken,
          "warmup_samples (",
          warmup_samples,
          ") must not exceed decay_samples (",
          decay_samples,
          "); set it to at most ",
          decay_samples);
  require(decays || min_lr == 0,
          broken,
          "min_lr (",
          min_lr,
          ") has no effect under schedule (constant); set it to 0");
  require(decays || decay_samples == 0,
          broken,
          "decay_samples (",
          decay_samples,
          ") has no effect under schedule (constant); set it to auto");
  return broken;
}

}  // namespace enodia
