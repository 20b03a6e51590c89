#pragma once

#include <cstdint>
#include <span>

#include "parallel/placement/quota_solver.h"

namespace enodia {

/// Replicas by greed, at most `slots` on a rank: an expert comes to a node that has `threshold`
/// tokens for it, and owners above `limit` tokens give away the rest; these parcels, the largest
/// first, fill the emptiest ranks of their nodes up to the limit. Local.
Replicas construct_replicas(const Topology& topology,
                            std::span<const int32_t> owners,
                            int slots,
                            const NodeCounts& counts,
                            int64_t threshold,
                            int64_t limit);

}  // namespace enodia
