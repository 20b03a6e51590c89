#pragma once

#include "parallel/expert_store.h"
#include "parallel/mesh.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// Makes the step's gradients whole after the last micro-batch: dense gradients are summed over all
/// ranks in rank order, expert gradients have come home to their owners. The objective already
/// carries 1/N, so nothing is divided here. `store` may be null (a dense model). Collective.
void reduce_gradients(const ProcessMesh& mesh,
                      const ParameterRegistry& registry,
                      ExpertStore* store);

}  // namespace enodia
