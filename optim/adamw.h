#pragma once

#include <cstdint>

#include "optim/optim_options.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// AdamW with decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2; the order of
/// operations is torch.optim.AdamW's). Moments are the columns `exp_avg` and `exp_avg_sq` of every
/// parameter on this rank, or under ZeRO-1 of what this rank owns, in the wide type.
class AdamW {
 public:
  AdamW(const OptimOptions& options, ParameterRegistry& registry);

  /// Updates the masters on this rank, under ZeRO-1 those it owns, from their gradients times
  /// `gradient_scale`. Local.
  void step(double lr, double gradient_scale);

  /// The factor that brings a gradient of this norm down to clip_norm; 1 when it is smaller or
  /// clipping is off.
  double clip_scale(double norm) const;

  /// Updates made so far: bias correction depends on it. Skipped steps do not count.
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  OptimOptions options_;
  ParameterRegistry& registry_;
  int64_t steps_ = 0;
};

}  // namespace enodia
