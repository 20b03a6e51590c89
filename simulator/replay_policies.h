#pragma once

#include <span>

#include "parallel/placement/policy.h"

namespace enodia {

/// The policies that a trace can be replayed under: placement_policies(), then those that training
/// does not know, because they move owners or keep replicas that training has no place for.
std::span<const PolicyEntry> replay_policies();

}  // namespace enodia
