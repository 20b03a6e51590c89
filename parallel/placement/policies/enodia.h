#pragma once

#include <memory>

#include "parallel/placement/policy.h"

namespace enodia {

/// Enodia's own policy. Stage A searches replicas for the loads that are expected of each node
/// (ReplicaSearch). Stage B divides the exact tokens over them (QuotaSolver), adds up to four
/// replicas where that pays, and where the expectation has failed plans anew from the exact counts.
std::unique_ptr<PlacementPolicy> make_enodia_policy(const PolicySetup& setup);

}  // namespace enodia
