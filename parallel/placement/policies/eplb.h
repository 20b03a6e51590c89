#pragma once

#include <cstdint>
#include <span>

#include "parallel/placement/policies/division.h"

namespace enodia {

/// EPLB's placement of one layer: which ranks hold copies of each expert, every rank
/// `slots_a_rank`. Groups of `experts_a_group` experts are packed to nodes first; 0 = no groups:
/// globally, as where groups do not divide among nodes.
Holders place_eplb(std::span<const int64_t> load,
                   const Topology& topology,
                   int slots_a_rank,
                   int experts_a_group);

}  // namespace enodia
