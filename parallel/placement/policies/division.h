#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/placement/layer_plan.h"

/// What the published policies share: who holds an expert, and how its tokens are divided.
namespace enodia {

/// The ranks that hold each expert, ascending; one that holds two copies is there twice. The owner
/// may be missing, where a policy moves experts.
using Holders = std::vector<std::vector<int32_t>>;

Holders owners_alone(std::span<const int32_t> owners);
std::vector<int32_t> all_ranks(const Topology& topology);
bool holds(std::span<const int32_t> ranks, int32_t rank);

/// Experts by load, largest first, ties to the smaller id.
std::vector<int32_t> by_load(std::span<const int64_t> load);

/// Tokens that each rank gets of each expert: [experts][ranks].
using Division = std::vector<std::vector<int64_t>>;

/// Each expert's tokens evenly over its copies.
Division divide_evenly(const LayerCounts& counts, const Holders& holders, int num_ranks);
/// From a row of each rank: its tokens to itself if they may stay and it holds the expert, else
/// evenly over the copies in its node, else over all.
enum class OwnTokens : uint8_t { kStay, kSpread };
Division divide_near(const LayerCounts& counts,
                     const Holders& holders,
                     const Topology& topology,
                     OwnTokens own);

/// A plan of one layer in which `holders` compute what `division` says.
LayerPlan make_plan(std::span<const int32_t> owners,
                    const Holders& holders,
                    const Division& division);

/// One more copy of some expert until all slots are used, each of the expert with the largest load
/// a copy. Returns the expert of each copy: one of each of `experts`, then those added, in order.
std::vector<int32_t> add_copies(std::span<const int64_t> load,
                                std::span<const int32_t> experts,
                                int slots);

/// Items to bins of `capacity` items: the heaviest first, each to the lightest bin with room (LPT).
/// Returns the bin of each item.
std::vector<int> pack(std::span<const double> weights, int bins, int capacity);

}  // namespace enodia
