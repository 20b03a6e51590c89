#pragma once

#include "parallel/placement/policy.h"

namespace enodia {

/// Plans drawn at random, anew for each layer and micro-batch: replicas anywhere, whatever was
/// foreseen, and each expert's tokens in random parts, of which some, the owner's too, are nothing.
/// They obey no limit of slots; another number of extra_slots is another draw.
extern const PolicyEntry kRandomPlans;

/// The same, but what was foreseen is used, with a token at least where there are any: so that no
/// gather of weights is for nothing.
extern const PolicyEntry kRandomPlansInUse;

}  // namespace enodia
