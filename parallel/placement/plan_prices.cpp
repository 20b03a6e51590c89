#include "parallel/placement/plan_prices.h"

namespace enodia {
namespace {

// What is hidden shares links with tokens: the fuller the time that hides it, the more it delays
// them. In thousandths of the price: for the first expert, and more for one that fills the time.
constexpr int64_t kHidden = 100;
constexpr int64_t kHiddenInFullTime = 800;

/// The busiest link decides how long all wait; the others count a little, so that a step that
/// relieves one of them is seen, too.
int64_t weighed(int64_t as_busiest, int64_t all) {
  return (3 * as_busiest + all) / 4;
}

int64_t crossings(const PlanPrices& prices, const QuotaSolver& solver) {
  // A token that crosses loads two links.
  return prices.by_links
             ? weighed(solver.num_nodes() * solver.most_crossing() / 2, solver.inter_node())
             : solver.inter_node();
}

int64_t experts_away(const PlanPrices& prices, const QuotaSolver& solver) {
  return prices.by_links ? weighed(solver.num_nodes() * solver.most_away(), solver.num_away()) : 0;
}

int64_t experts_near(const PlanPrices& prices, const QuotaSolver& solver) {
  return prices.by_links ? weighed(solver.num_ranks() * solver.most_near(), solver.num_replicas())
                         : 0;
}

int64_t cost_of_replicas(const PlanPrices& prices, const QuotaSolver& solver) {
  const int64_t tokens = solver.counts().total();
  const int64_t whole = prices.share * solver.num_replicas() * tokens / 1000 +
                        prices.near * experts_near(prices, solver) +
                        prices.away * experts_away(prices, solver);
  const int64_t time = prices.hidden + prices.hidden_by_token * tokens;
  const int64_t hidden = std::min(whole, time);
  const int64_t fill = hidden > 0 ? 1000 * hidden / time : 0;  // of the time, in thousandths
  return whole - hidden + hidden * (kHidden + kHiddenInFullTime * fill / 2000) / 1000;
}

}  // namespace

PlanPrices::PlanPrices(const PlanBudget& budget, const Topology& topology)
    : straggling(1000),
      crossing(1000 * budget.token_away / budget.token),
      share(0),
      near(1000 * budget.expert / budget.token),
      away(1000 * budget.expert_away / budget.token),
      hidden(1000 * budget.window / budget.token * topology.num_ranks()),
      hidden_by_token(1000),
      by_links(true),
      goal(1004) {}

PlanPrices PlanPrices::in_the_open() const {
  PlanPrices prices = *this;
  prices.hidden = prices.hidden_by_token = 0;
  return prices;
}

int64_t goal_of(const PlanPrices& prices, const NodeCounts& counts, const Topology& topology) {
  return counts.total() * prices.goal / (int64_t{1000} * topology.num_ranks()) + 1;
}

int64_t least_price_of_replica(const PlanPrices& prices, int64_t tokens) {
  const int64_t whole = prices.share * tokens / 1000 + prices.near + prices.away;
  const int64_t off_busiest_links = prices.by_links ? weighed(0, whole) : whole;
  return prices.hidden_by_token > 0 ? off_busiest_links * kHidden / 1000 : off_busiest_links;
}

int64_t sending_cost_of(const PlanPrices& prices, const QuotaSolver& solver) {
  return prices.crossing * crossings(prices, solver) + cost_of_replicas(prices, solver);
}

int64_t cost_of(const PlanPrices& prices, const QuotaSolver& relieved) {
  const int64_t excess = relieved.load(relieved.slowest()) - relieved.goal();
  return prices.straggling * std::max<int64_t>(0, excess) * relieved.num_ranks() +
         sending_cost_of(prices, relieved);
}

}  // namespace enodia
