#include "trainer/forecast/memory_forecast.h"

#include <numeric>

#include <gmock/gmock.h>

#include "models/parameter_list.h"

namespace enodia {
namespace {

/// GPT-MoE-S of Hecate (arXiv 2502.02581v1, section 5): 12 layers of 64 experts, hidden size 768,
/// experts twice as wide; with experts as they are here, of three matrices.
TrainConfig gpt_moe_s() {
  TrainConfig config;
  config.model.vocab_size = 50257;
  config.model.hidden_size = 768;
  config.model.num_hidden_layers = 12;
  config.model.num_attention_heads = config.model.num_key_value_heads = 12;
  config.model.head_dim = 64;
  config.model.moe_intermediate_size = 1536;
  config.model.num_experts = 64;
  config.model.tie_word_embeddings = true;
  config.model.max_position_embeddings = config.train.sequence_length = 2048;
  config.train.micro_batch_size = 1;
  config.train.global_batch_size = 16;
  return config;
}

/// Without tokens: what a placement costs by itself.
int64_t lasting_bytes(const TrainConfig& config, int world_size) {
  int64_t most = 0;
  for (const RankMemory& rank : forecast_memory(config, world_size)) {
    most = std::max(most, rank.total() - rank.data - rank.activations);
  }
  return most;
}

TEST(MemoryForecast, ReplicasOfGptMoeSCostAtMostATenth) {
  TrainConfig config = gpt_moe_s();
  config.placement.policy = PlacementConfig::kOwners;
  const auto plain = static_cast<double>(lasting_bytes(config, 16));
  config.placement.policy = "enodia";
  config.placement.extra_slots = 2;
  const double rematerialized = static_cast<double>(lasting_bytes(config, 16)) / plain;
  EXPECT_GT(rematerialized, 1.0);
  EXPECT_LE(rematerialized, 1.10);
  config.placement.rematerialize = false;
  const double kept = static_cast<double>(lasting_bytes(config, 16)) / plain;
  EXPECT_GT(kept, rematerialized + 0.05);
  RecordProperty("rematerialized", std::to_string(rematerialized));
  RecordProperty("kept", std::to_string(kept));
}

TEST(MemoryForecast, LayersAreKeptAsFarAsTheirMemoryGoes) {
  TrainConfig config = gpt_moe_s();
  config.placement.policy = "enodia";
  EXPECT_EQ(kept_layers(config, 16), 0);
  const int64_t none = lasting_bytes(config, 16);
  // A replica is 3 x 768 x 1536 x 4 bytes, a layer has two on a rank: 28.3 MB.
  config.placement.keep_memory_mb = 28;
  EXPECT_EQ(kept_layers(config, 16), 0);
  config.placement.keep_memory_mb = 85;
  EXPECT_EQ(kept_layers(config, 16), 3);
  const int64_t three = lasting_bytes(config, 16);
  EXPECT_GT(three, none);
  EXPECT_LE(three, none + 85'000'000);
  config.placement.keep_memory_mb = 1'000'000;
  EXPECT_EQ(kept_layers(config, 16), 12);
  const int64_t all = lasting_bytes(config, 16);
  config.placement.rematerialize = false;
  EXPECT_EQ(all, lasting_bytes(config, 16));
}

TEST(MemoryForecast, StripesMoveNoMastersButMakeSlotsOfHomes) {
  TrainConfig config = gpt_moe_s();
  config.placement.policy = "enodia";
  const RankMemory whole = forecast_memory(config, 16)[5];
  config.placement.stripes = 8;
  const RankMemory striped = forecast_memory(config, 16)[5];
  EXPECT_EQ(striped.parameters.experts, whole.parameters.experts);
  EXPECT_EQ(striped.optimizer.experts, whole.optimizer.experts);
  const int64_t slot = 3 * 768 * 1536 * 4;
  EXPECT_EQ(whole.replica_weights, 2 * 2 * slot);
  EXPECT_EQ(striped.replica_weights, 2 * (2 + 4) * slot);  // four experts of a layer are at home
  EXPECT_EQ(striped.replica_gradients, striped.replica_weights);
}

/// Numbers of one rank that have all to themselves: every element of the model once.
TEST(MemoryForecast, OneRankHoldsTheWholeModelFourTimes) {
  TrainConfig config = gpt_moe_s();
  config.model.num_experts = 4;
  int64_t elements = 0;
  for (const ParameterShape& parameter : list_parameters(config.model)) {
    elements += std::accumulate(
        parameter.shape.begin(), parameter.shape.end(), int64_t{1}, std::multiplies<>());
  }
  const RankMemory rank = forecast_memory(config, 1).front();
  EXPECT_EQ(rank.parameters.total(), 4 * elements);
  EXPECT_EQ(rank.gradients.total(), 4 * elements);
  EXPECT_EQ(rank.optimizer.total(), 8 * elements);
  EXPECT_EQ(rank.replica_weights + rank.replica_gradients, 0);
}

TEST(MemoryForecast, RanksOwnEachExpertOnce) {
  TrainConfig config = gpt_moe_s();
  const int64_t alone = forecast_memory(config, 1).front().parameters.experts;
  for (const int ranks : {2, 3, 16, 100}) {
    int64_t sum = 0;
    for (const RankMemory& rank : forecast_memory(config, ranks)) {
      sum += rank.parameters.experts;
    }
    EXPECT_EQ(sum, alone) << ranks << " ranks";
  }
}

TEST(MemoryForecast, TensorParallelRanksShareMatricesAndKeepNorms) {
  TrainConfig config = gpt_moe_s();
  const int64_t whole = forecast_memory(config, 1).front().parameters.dense;
  config.parallel.tp = 4;
  int64_t sum = 0;
  for (const RankMemory& rank : forecast_memory(config, 4)) {
    sum += rank.parameters.dense;
  }
  // Twelve layers' norms and routers, and the last norm, three times more.
  const int64_t uncut = 12 * (2 * 768 + 64 * 768 + 2 * 64) + 768;
  EXPECT_EQ(sum, whole + 3 * 4 * uncut);
}

TEST(MemoryForecast, MixedPrecisionAddsWhatIsComputedWith) {
  TrainConfig config = gpt_moe_s();
  const RankMemory wide = forecast_memory(config, 16).front();
  config.model.dtype = DType::kBFloat16;
  const RankMemory mixed = forecast_memory(config, 16).front();
  EXPECT_EQ(2 * mixed.parameters.experts, 3 * wide.parameters.experts);
  EXPECT_EQ(mixed.gradients.total(), wide.gradients.total());
  EXPECT_LT(mixed.activations, wide.activations);
}

TEST(MemoryForecast, Zero1CutsMomentsAlone) {
  TrainConfig config = gpt_moe_s();
  const RankMemory whole = forecast_memory(config, 16).front();
  config.parallel.zero1 = Zero1::kRows;
  const RankMemory cut = forecast_memory(config, 16).front();
  EXPECT_EQ(cut.parameters.dense, whole.parameters.dense);
  EXPECT_NEAR(static_cast<double>(cut.optimizer.dense) * 16,
              static_cast<double>(whole.optimizer.dense),
              0.001 * static_cast<double>(whole.optimizer.dense));
  EXPECT_EQ(cut.optimizer.experts, whole.optimizer.experts);
}

TEST(MemoryForecast, EachKindIsInTheSumOnce) {
  const RankMemory rank = forecast_memory(gpt_moe_s(), 4).front();
  const MemoryUse::ByKind kinds = rank.by_kind();
  EXPECT_THAT(kinds, ::testing::Each(::testing::Gt(0)));
  EXPECT_EQ(rank.total(), std::accumulate(kinds.begin(), kinds.end(), int64_t{0}));
  EXPECT_EQ(rank.to_json().at("total").get<int64_t>(), rank.total());
}

}  // namespace
}  // namespace enodia
