#pragma once

#include "collectives/communicator.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// The 2-norm of the whole model's gradient: each element once, by its owner, squares
/// summed in double in name order and then in rank order. Every rank gets the same bits; a gradient
/// that is not finite anywhere makes it not finite everywhere, which is how ranks agree to skip a
/// step. Collective.
double gradient_norm(Communicator& communicator, const ParameterRegistry& registry);

}  // namespace enodia
