#pragma once

#include <utility>

#include "parallel/placement/quota_solver.h"

namespace enodia {

/// The replica that would take most from a rank above the goal, or none: of an expert of that rank,
/// on a rank with a free slot and room below the goal. Of a plan that is not relieved, as those
/// below, it may be more than what is missing. Local.
Replica missing_for(int32_t full, const QuotaSolver& relieved, const Topology& topology);

/// A replica that would take much from a rank above the goal, in the place of another
/// that computes less there: the one that goes, the one that comes. None where no slot is full.
std::pair<Replica, Replica> exchange_for(int32_t full,
                                         const QuotaSolver& relieved,
                                         const Topology& topology);

/// The replica that would keep most tokens inside their node, more than `least`, on the emptiest
/// rank there with a free slot, or none.
Replica missing_in_node(const QuotaSolver& relieved, const Topology& topology, int64_t least);

/// The emptiest rank of a node with a free slot, -1 for none.
int32_t emptiest_free_rank(const QuotaSolver& solver, const Topology& topology, int node);

}  // namespace enodia
