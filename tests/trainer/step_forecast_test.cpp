#include "trainer/forecast/step_forecast.h"

#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "common/error.h"
#include "models/flops.h"

namespace enodia {
namespace {

/// Two layers of four experts, one for each of four ranks.
TrainConfig small_config() {
  TrainConfig config;
  config.model.vocab_size = 100;
  config.model.hidden_size = 1024;
  config.model.num_hidden_layers = 2;
  config.model.num_experts = 4;
  config.model.num_experts_per_tok = 2;
  config.model.moe_intermediate_size = 512;
  config.train.micro_batch_size = 2;
  config.train.global_batch_size = 16;  // two micro-batches a rank
  config.train.sequence_length = 64;
  config.placement.extra_slots = 2;
  return config;
}

Cluster small_cluster() {
  return {.name = "small",
          .nodes = 2,
          .ranks_per_node = 2,
          .tflops = 1,
          .memory_gb = 1,
          .inside = {100, 0},
          .between = {10, 0}};
}

const PolicyEntry& find_policy(std::string_view name) {
  for (const PolicyEntry& entry : placement_policies()) {
    if (entry.name == name) {
      return entry;
    }
  }
  throw UsageError("no such policy");
}

StepForecast forecast_of(const TrainConfig& config, std::string_view policy, double skew) {
  const Cluster cluster = small_cluster();
  return forecast_step(
      config, cluster, zipf_trace(config, cluster.num_ranks(), skew), find_policy(policy));
}

/// With even routing and equal shares compute is what MFU counts.
TEST(StepForecast, EvenComputeIsThatOfTrainingFlops) {
  const TrainConfig config = small_config();
  const StepForecast step = forecast_of(config, "owners", 0);
  const double flops =
      2 * training_flops(config.model, SequenceLayout::from_lengths(std::vector<int64_t>{64, 64}));
  EXPECT_NEAR(step.attention + step.experts, flops / 1e12, 1e-9 * flops / 1e12);
  EXPECT_DOUBLE_EQ(step.imbalance, 1.0);
  EXPECT_EQ(step.replicas, 0.0);
}

/// Every token copy leaves to the expert's rank: a quarter stays, a quarter goes to each other.
TEST(StepForecast, TokensCrossTheNodesLink) {
  const TrainConfig config = small_config();
  const StepForecast step = forecast_of(config, "owners", 0);
  const double copies_out_of_node = 2 * 256 * 0.5;
  const double once = copies_out_of_node * 1024 * 4 / 10e9;
  EXPECT_NEAR(step.tokens, once * 4 * 2 * 2, 1e-12);  // ways, layers, micro-batches
}

TEST(StepForecast, TheSlowestRankDecides) {
  const TrainConfig config = small_config();
  const StepForecast even = forecast_of(config, "owners", 0);
  const StepForecast skewed = forecast_of(config, "owners", 2);
  EXPECT_GT(skewed.imbalance, 2.5);
  EXPECT_NEAR(skewed.experts, even.experts * skewed.imbalance, 0.01 * skewed.experts);
  EXPECT_EQ(skewed.attention, even.attention);
}

TEST(StepForecast, ReplicasLevelRanksForBytes) {
  const StepForecast owners = forecast_of(small_config(), "owners", 2);
  const StepForecast enodia = forecast_of(small_config(), "enodia", 2);
  EXPECT_LT(enodia.imbalance, 1.1);
  EXPECT_LT(enodia.experts, owners.experts / 2);
  TrainConfig config = small_config();
  config.placement.budget = PlacementConfig::kFixed;
  Cluster slow = small_cluster();
  slow.between.gigabytes_per_s = slow.inside.gigabytes_per_s = 0.1;
  const RoutingTrace trace = zipf_trace(config, 4, 2);
  const double again = forecast_step(config, slow, trace, find_policy("enodia")).replicas;
  config.placement.rematerialize = false;
  const double kept = forecast_step(config, slow, trace, find_policy("enodia")).replicas;
  EXPECT_GT(kept, 0.0);
  EXPECT_GT(again, kept);
  config.placement.rematerialize = true;
  config.placement.keep_memory_mb = 1'000'000;
  EXPECT_EQ(forecast_step(config, slow, trace, find_policy("enodia")).replicas, kept);
}

/// Wide experts beside few tokens: what levels ranks costs more than it gains.
TEST(StepForecast, PlansThatKnowRatesBringNoExpertThatDoesNotPay) {
  TrainConfig config = small_config();
  config.model.moe_intermediate_size = 8192;
  Cluster slow = small_cluster();
  slow.between.gigabytes_per_s = slow.inside.gigabytes_per_s = 1;
  const RoutingTrace trace = zipf_trace(config, 4, 2);
  const double owners = forecast_step(config, slow, trace, find_policy("owners")).total();
  config.placement.budget = PlacementConfig::kFixed;
  const double fixed = forecast_step(config, slow, trace, find_policy("enodia")).total();
  config.placement.budget = PlacementConfig::kMeasured;
  const double priced = forecast_step(config, slow, trace, find_policy("enodia")).total();
  EXPECT_GT(fixed, owners);
  EXPECT_LE(priced, owners);
}

TEST(StepForecast, TokensAreThoseOfTheConfiguration) {
  TrainConfig config = small_config();
  const RoutingTrace trace = zipf_trace(config, 4, 1);
  const StepForecast step = forecast_step(config, small_cluster(), trace, find_policy("owners"));
  config.train.sequence_length *= 2;
  const StepForecast longer = forecast_step(config, small_cluster(), trace, find_policy("owners"));
  EXPECT_NEAR(longer.experts, 2 * step.experts, 1e-9 * step.experts);
}

TEST(StepForecast, RefusesRoutingOfOtherShapes) {
  TrainConfig config = small_config();
  const PolicyEntry& owners = find_policy("owners");
  EXPECT_THROW(forecast_step(config, small_cluster(), zipf_trace(config, 3, 0), owners),
               ConfigError);
  const RoutingTrace trace = zipf_trace(config, 4, 0);
  config.model.num_experts = 8;
  EXPECT_THROW(forecast_step(config, small_cluster(), trace, owners), ConfigError);
}

}  // namespace
}  // namespace enodia
