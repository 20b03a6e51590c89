#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "parallel/placement/policies/division.h"
#include "parallel/placement/policies/rules.h"

namespace enodia {
namespace {

/// Free slots while experts are spread.
class FreeSlots {
 public:
  FreeSlots(const Topology& topology, int slots)
      : topology_(topology),
        free_(topology.num_ranks(), slots) {}

  /// A rank without the expert: of the node with the fewest copies, then of the one with the most
  /// free slots, then with the most itself; -1 when there is none. Takes the slot.
  int32_t take(const std::vector<int32_t>& holders) {
    auto best = std::tuple(std::numeric_limits<int>::max(), 0, 0, int32_t{-1});
    for (int32_t rank = 0; rank < topology_.num_ranks(); ++rank) {
      if (free_[rank] > 0 && !holds(holders, rank)) {
        const int32_t node = topology_.node_of(rank);
        const auto copies = std::count_if(holders.begin(), holders.end(), [&](int32_t holder) {
          return topology_.node_of(holder) == node;
        });
        best = std::min(best,
                        std::tuple(static_cast<int>(copies), -free_in(node), -free_[rank], rank));
      }
    }
    const int32_t rank = std::get<3>(best);
    if (rank >= 0) {
      --free_[rank];
    }
    return rank;
  }

 private:
  int free_in(int32_t node) const {
    int sum = 0;
    for (int rank = topology_.first_rank(node); rank < topology_.first_rank(node + 1); ++rank) {
      sum += free_[rank];
    }
    return sum;
  }

  const Topology& topology_;
  std::vector<int> free_;
};

LayerPlan plan_top(const RuleInput& input,
                   const LayerCounts& known,
                   const LayerCounts& counts,
                   int top) {
  const std::vector<int64_t> load = known.totals();
  std::vector<int32_t> order = by_load(load);
  order.resize(std::min<size_t>(order.size(), top));
  Holders holders = owners_alone(input.owners);
  if (top <= input.extra_slots) {
    for (const int32_t expert : order) {
      holders[expert] = all_ranks(input.topology);
    }
  } else {
    int64_t of_top = 0;
    for (const int32_t expert : order) {
      of_top += load[expert];
    }
    FreeSlots slots(input.topology, input.extra_slots);
    const double all_slots = input.topology.num_ranks() * input.extra_slots;
    for (const int32_t expert : order) {
      const double share =
          of_top > 0 ? static_cast<double>(load[expert]) / static_cast<double>(of_top) : 0.0;
      const auto wanted = std::max<int64_t>(1, std::llround(all_slots * share));
      for (int64_t i = 0; i < wanted; ++i) {
        const int32_t rank = slots.take(holders[expert]);
        if (rank < 0) {
          break;
        }
        holders[expert].push_back(rank);
      }
      std::sort(holders[expert].begin(), holders[expert].end());
    }
  }
  LayerPlan plan = make_plan(
      input.owners, holders, divide_near(counts, holders, input.topology, OwnTokens::kStay));
  plan.predicted = plan.replicas;
  plan.transfers = count_transfers(plan);
  return plan;
}

}  // namespace

LayerPlan plan_hecate(const RuleInput& input, const LayerCounts& known, const LayerCounts& counts) {
  return plan_top(input, known, counts, 2 * input.extra_slots);
}

LayerPlan plan_hecate_narrow(const RuleInput& input,
                             const LayerCounts& known,
                             const LayerCounts& counts) {
  return plan_top(input, known, counts, input.extra_slots);
}

}  // namespace enodia
