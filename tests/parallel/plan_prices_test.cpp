#include "parallel/placement/plan_prices.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "parallel/placement/policies/enodia.h"

namespace enodia {
namespace {

/// Two nodes of two ranks at 1 TFLOP/s, 100 GB/s inside and 10 between.
Cluster priced_cluster() {
  return {.name = "small",
          .nodes = 2,
          .ranks_per_node = 2,
          .tflops = 1,
          .memory_gb = 1,
          .inside = {100, 0},
          .between = {10, 0}};
}

TEST(PlanBudget, CountsForwardAndBackward) {
  const LayerWork work{.flops_of_copy = 1e6,
                       .flops_between = 1e9,
                       .bytes_of_copy = 1000,
                       .bytes_of_weights = 2e6,
                       .bytes_of_gradients = 4e6};
  const PlanBudget budget = plan_budget(priced_cluster(), 2, work);
  EXPECT_EQ(budget.token, 3000);      // 3 us
  EXPECT_EQ(budget.token_away, 800);  // 4 x 1000 bytes at 10 GB/s, for two ranks
  EXPECT_EQ(budget.expert, 80'000);   // twice 2 MB and 4 MB at 100 GB/s
  EXPECT_EQ(budget.expert_away, 1'600'000);
  EXPECT_EQ(budget.window, 3'000'000);
  EXPECT_TRUE(budget.is_known());
  EXPECT_FALSE(PlanBudget().is_known());
  LayerWork kept = work;
  kept.brought_twice = false;
  EXPECT_EQ(plan_budget(priced_cluster(), 2, kept).expert, 60'000);
}

TEST(PlanPrices, CountLinksByTheBusiest) {
  const Topology topology({0, 0, 1, 1});
  const std::vector<int32_t> owners{0, 2};
  const std::vector<int32_t> tokens{100, 0, 100, 0, 60, 40, 0, 0};  // [ranks, experts]
  const NodeCounts counts({2, tokens}, topology);
  QuotaSolver solver(topology, 2, 1);
  const PlanBudget budget{
      .token = 1000, .token_away = 2000, .expert = 3000, .expert_away = 50'000, .window = 0};
  PlanPrices prices(budget, topology);
  prices.hidden_by_token = 0;
  solver.start(owners, counts, Replicas(2), 1000);
  // 60 tokens leave node 1 and come to node 0: both links have as many.
  EXPECT_EQ(sending_cost_of(prices, solver), 2000 * 60);
  solver.start(owners, counts, {{2}, {}}, 1000);
  // Nothing crosses; one expert goes from node 0 to node 1. Of two links one has it, of four ranks
  // one: three quarters count it for all.
  const int64_t experts = 3000 * ((3 * 4 + 1) / 4) + 50'000 * ((3 * 2 + 1) / 4);
  EXPECT_EQ(sending_cost_of(prices, solver), experts);
  // Hidden, a tenth of the price, and more the fuller the time is that hides it.
  prices.hidden = 1000 * experts;
  EXPECT_EQ(sending_cost_of(prices, solver), experts / 10);
  prices.hidden = experts;
  EXPECT_EQ(sending_cost_of(prices, solver), experts / 2);
  prices.hidden = experts / 2;
  EXPECT_EQ(sending_cost_of(prices, solver), experts / 2 + experts / 4);
  EXPECT_EQ(sending_cost_of(prices.in_the_open(), solver), experts);
}

/// Replicas that Enodia's policy has of a layer with one hot expert, after it has seen it.
size_t replicas_with(const PlanBudget& budget) {
  const Topology topology({0, 0, 1, 1});
  const PolicySetup setup{topology, 1, 4, 2, {{0, 1, 2, 3}}, budget};
  const auto policy = make_enodia_policy(setup);
  const std::vector<int32_t> tokens{
      700, 100, 100, 100, 700, 100, 100, 100, 700, 100, 100, 100, 700, 100, 100, 100};
  policy->observe(0, {4, tokens});
  Replicas predicted;
  policy->predict(0, predicted);
  LayerPlan plan;
  policy->resolve(0, {4, tokens}, predicted, plan);
  return plan.replicas.values().size();
}

TEST(PlanPrices, DecideHowFarExpertsTravel) {
  const PlanBudget free{.token = 1000, .token_away = 100};
  const PlanBudget dear{
      .token = 1000, .token_away = 100, .expert = 100'000'000, .expert_away = 100'000'000};
  PlanBudget dear_between = free;
  dear_between.expert_away = 100'000'000;
  EXPECT_GE(replicas_with(free), 3u);
  EXPECT_EQ(replicas_with(dear), 0u);
  EXPECT_EQ(replicas_with(dear_between), 1u);  // on the other rank of the owner's node
}

}  // namespace
}  // namespace enodia
