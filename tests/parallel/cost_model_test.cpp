#include "parallel/placement/cost_model.h"

#include <gtest/gtest.h>

namespace enodia {
namespace {

/// Two nodes of two ranks: 10 TFLOP/s, 4 GB/s inside, 1 GB/s between.
Cluster small_cluster() {
  return {.name = "small",
          .nodes = 2,
          .ranks_per_node = 2,
          .tflops = 10,
          .memory_gb = 1,
          .inside = {4, 100},
          .between = {1, 1000}};
}

TEST(CostModel, ComputesAtTheRateOfARank) {
  EXPECT_DOUBLE_EQ(compute_seconds(small_cluster(), 5e12), 0.5);
}

TEST(CostModel, WhatStaysOnARankTakesNoTime) {
  Exchange exchange(4);
  exchange.add(1, 1, 1e9);
  EXPECT_EQ(exchange_seconds(small_cluster(), exchange), 0.0);
}

TEST(CostModel, TheBusiestLinkInItsBusierDirectionDecides) {
  Exchange exchange(4);
  exchange.add(0, 1, 2e9);  // 0.5 s inside node 0
  EXPECT_DOUBLE_EQ(exchange_seconds(small_cluster(), exchange), 0.5 + 1e-4);
  exchange.add(0, 2, 3e8);  // both ranks of node 1 share its link
  exchange.add(1, 3, 5e8);
  EXPECT_DOUBLE_EQ(exchange_seconds(small_cluster(), exchange), 0.8 + 1e-3);
  exchange.add(2, 0, 7e8);  // the other way, beside it
  EXPECT_DOUBLE_EQ(exchange_seconds(small_cluster(), exchange), 0.8 + 1e-3);
  exchange.add(3, 0, 2e8);
  EXPECT_DOUBLE_EQ(exchange_seconds(small_cluster(), exchange), 0.9 + 1e-3);
}

TEST(CostModel, WhatArrivesAtOnePlaceWaitsForItsLink) {
  Cluster cluster = small_cluster();
  cluster.nodes = 3;
  Exchange between(6);
  between.add(2, 0, 4e8);
  between.add(4, 1, 5e8);
  EXPECT_DOUBLE_EQ(exchange_seconds(cluster, between), 0.9 + 1e-3);
  cluster.nodes = 1;
  cluster.ranks_per_node = 3;
  Exchange inside(3);
  inside.add(1, 0, 1e9);
  inside.add(2, 0, 1e9);
  EXPECT_DOUBLE_EQ(exchange_seconds(cluster, inside), 0.5 + 1e-4);
}

TEST(CostModel, AllReduceGoesRoundInsideAndBetweenNodes) {
  // Two turns of half the bytes in each ring.
  const double inside = 2 * (1e-4 + 0.5e9 / 4e9);
  const double between = 2 * (1e-3 + 0.5e9 / 1e9);
  EXPECT_DOUBLE_EQ(all_reduce_seconds(small_cluster(), 1e9), inside + between);
  Cluster one = small_cluster();
  one.nodes = one.ranks_per_node = 1;
  EXPECT_EQ(all_reduce_seconds(one, 1e9), 0.0);
}

}  // namespace
}  // namespace enodia
