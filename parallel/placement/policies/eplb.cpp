#include "parallel/placement/policies/eplb.h"

#include <algorithm>
#include <numeric>

#include "parallel/placement/policies/rules.h"

namespace enodia {
namespace {

/// Packs the copies of some experts into the ranks from `first` on.
void place(std::span<const int64_t> load,
           const std::vector<int32_t>& experts,
           int first,
           int ranks,
           int slots_a_rank,
           Holders& holders) {
  const std::vector<int32_t> copies = add_copies(load, experts, ranks * slots_a_rank);
  std::vector<double> weights;
  for (const int32_t expert : copies) {
    weights.push_back(static_cast<double>(load[expert]) /
                      static_cast<double>(std::count(copies.begin(), copies.end(), expert)));
  }
  const std::vector<int> rank_of = pack(weights, ranks, slots_a_rank);
  for (size_t i = 0; i < copies.size(); ++i) {
    holders[copies[i]].push_back(first + rank_of[i]);
  }
}

/// The experts of each node, whole groups packed by load.
std::vector<std::vector<int32_t>> split_by_nodes(std::span<const int64_t> load,
                                                 int nodes,
                                                 int experts_a_group) {
  const auto groups = static_cast<int>(load.size()) / experts_a_group;
  std::vector<double> weights(groups, 0);
  for (size_t expert = 0; expert < load.size(); ++expert) {
    weights[expert / experts_a_group] += static_cast<double>(load[expert]);
  }
  const std::vector<int> node_of = pack(weights, nodes, groups / nodes);
  std::vector<std::vector<int32_t>> experts(nodes);
  for (size_t expert = 0; expert < load.size(); ++expert) {
    experts[node_of[expert / experts_a_group]].push_back(static_cast<int32_t>(expert));
  }
  return experts;
}

LayerPlan plan(const RuleInput& input,
               const LayerCounts& known,
               const LayerCounts& counts,
               int experts_a_group) {
  const int ranks = input.topology.num_ranks();
  const int slots_a_rank = (counts.num_experts + ranks - 1) / ranks + input.extra_slots;
  const Holders holders = place_eplb(known.totals(), input.topology, slots_a_rank, experts_a_group);
  LayerPlan made = make_plan(input.owners, holders, divide_evenly(counts, holders, ranks));
  made.predicted = made.replicas;
  made.transfers = int64_t{slots_a_rank} * ranks - counts.num_experts;
  return made;
}

/// Whether all nodes have as many ranks: only then is a run of ranks a node.
bool is_even(const Topology& topology) {
  const int ranks = topology.first_rank(1);
  for (int node = 0; node < topology.num_nodes(); ++node) {
    if (topology.first_rank(node + 1) != (node + 1) * ranks) {
      return false;
    }
  }
  return true;
}

}  // namespace

Holders place_eplb(std::span<const int64_t> load,
                   const Topology& topology,
                   int slots_a_rank,
                   int experts_a_group) {
  const auto num_experts = static_cast<int>(load.size());
  const int nodes = topology.num_nodes();
  std::vector<std::vector<int32_t>> parts;
  if (experts_a_group > 0 && num_experts % (experts_a_group * nodes) == 0 && is_even(topology)) {
    parts = split_by_nodes(load, nodes, experts_a_group);
  } else {
    parts.emplace_back(num_experts);
    std::iota(parts[0].begin(), parts[0].end(), 0);
  }
  const int ranks_a_part = topology.num_ranks() / static_cast<int>(parts.size());
  Holders holders(num_experts);
  for (size_t part = 0; part < parts.size(); ++part) {
    const int first = static_cast<int>(part) * ranks_a_part;
    place(load, parts[part], first, ranks_a_part, slots_a_rank, holders);
  }
  for (std::vector<int32_t>& ranks : holders) {
    std::sort(ranks.begin(), ranks.end());
  }
  return holders;
}

LayerPlan plan_eplb(const RuleInput& input, const LayerCounts& known, const LayerCounts& counts) {
  return plan(input, known, counts, 0);
}

LayerPlan plan_eplb_hierarchical(const RuleInput& input,
                                 const LayerCounts& known,
                                 const LayerCounts& counts) {
  constexpr int kExpertsAGroup = 4;
  return plan(input, known, counts, kExpertsAGroup);
}

}  // namespace enodia
