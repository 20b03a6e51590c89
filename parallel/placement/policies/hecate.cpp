#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "parallel/placement/policies/division.h"
#include "parallel/placement/policies/rules.h"

namespace enodia {
namespace {

/// Tokens whose compute takes as long as an expert that all ranks wait for.
constexpr int64_t kTokensOfALateExpert = 500;

/// Free slots while experts are spread.
class FreeSlots {
 public:
  /// Beside the replicas of `holders`; the owners' own experts take none.
  FreeSlots(const RuleInput& input, const Holders& holders)
      : topology_(input.topology),
        free_(input.topology.num_ranks(), input.extra_slots) {
    for (size_t expert = 0; expert < holders.size(); ++expert) {
      for (const int32_t rank : holders[expert]) {
        free_[rank] -= rank != input.owners[expert] ? 1 : 0;
      }
    }
  }
  int count() const { return std::accumulate(free_.begin(), free_.end(), 0); }

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

/// Algorithm 1: more holders for the `top` most loaded experts. All ranks where there are slots for
/// it, else free slots by share of the load.
void spread_top(const RuleInput& input, const LayerCounts& known, int top, Holders& holders) {
  const std::vector<int64_t> load = known.totals();
  std::vector<int32_t> order = by_load(load);
  order.resize(std::min<size_t>(order.size(), top));
  if (top <= input.extra_slots) {
    for (const int32_t expert : order) {
      holders[expert] = all_ranks(input.topology);
    }
    return;
  }
  int64_t of_top = 0;
  for (const int32_t expert : order) {
    of_top += load[expert];
  }
  FreeSlots slots(input, holders);
  const double all_slots = slots.count();
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

LayerPlan divide(const RuleInput& input, const LayerCounts& counts, const Holders& holders) {
  return make_plan(
      input.owners, holders, divide_near(counts, holders, input.topology, OwnTokens::kStay));
}

LayerPlan as_predicted(LayerPlan plan) {
  plan.predicted = plan.replicas;
  plan.transfers = count_transfers(plan);
  return plan;
}

LayerPlan plan_top(const RuleInput& input,
                   const LayerCounts& known,
                   const LayerCounts& counts,
                   int top) {
  Holders holders = owners_alone(input.owners);
  spread_top(input, known, top, holders);
  return as_predicted(divide(input, counts, holders));
}

int64_t slowest(const LayerPlan& plan, const Topology& topology) {
  std::vector<int64_t> tokens(topology.num_ranks(), 0);
  for (size_t expert = 0; expert < plan.owners.size(); ++expert) {
    tokens[plan.owners[expert]] += plan.quotas[expert][0];
    for (size_t i = 0; i < plan.replicas[expert].size(); ++i) {
      tokens[plan.replicas[expert][i]] += plan.quotas[expert][i + 1];
    }
  }
  return *std::max_element(tokens.begin(), tokens.end());
}

/// Experts that arrive late at the rank where most do.
int64_t most_late(const LayerPlan& plan, const Topology& topology) {
  std::vector<int64_t> late(topology.num_ranks(), 0);
  for (size_t expert = 0; expert < plan.owners.size(); ++expert) {
    for (const int32_t rank : plan.replicas[expert]) {
      late[rank] += holds(plan.predicted[expert], rank) ? 0 : 1;
    }
  }
  return *std::max_element(late.begin(), late.end());
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

LayerPlan plan_hecate_calibrated(const RuleInput& input,
                                 const LayerCounts& known,
                                 const LayerCounts& counts) {
  Holders holders = owners_alone(input.owners);
  spread_top(input, known, 2 * input.extra_slots, holders);
  const LayerPlan plan = as_predicted(divide(input, counts, holders));
  spread_top(input, counts, 2 * input.extra_slots, holders);
  LayerPlan calibrated = divide(input, counts, holders);
  calibrated.predicted = plan.predicted;
  calibrated.transfers = count_transfers(calibrated);
  const int64_t cost = most_late(calibrated, input.topology) * kTokensOfALateExpert;
  const bool pays = slowest(calibrated, input.topology) + cost < slowest(plan, input.topology);
  return pays ? calibrated : plan;
}

}  // namespace enodia
