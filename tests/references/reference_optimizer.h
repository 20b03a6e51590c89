#pragma once

#include <cstdint>
#include <string>

#include "tests/references/reference_model.h"

namespace enodia {

/// Whether weight decay applies to a parameter, by the table of docs/numerics.md.
bool reference_decays(const std::string& name);

/// sqrt of the sum of squares over all tensors.
double reference_norm(const NamedTensors& tensors);

/// Clips the gradients of `step` by its grad_norm and fills updated, exp_avg and exp_avg_sq: AdamW
/// with decoupled decay, or nothing changed when grad_norm is not finite. Null moments are zeros.
void reference_update(const ReferenceOptions& options,
                      const NamedTensors& parameters,
                      int64_t optimizer_step,
                      const NamedTensors* exp_avg,
                      const NamedTensors* exp_avg_sq,
                      ReferenceStep& step);

}  // namespace enodia
