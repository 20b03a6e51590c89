#include <cmath>
#include <limits>
#include <map>

#include <gmock/gmock.h>

#include "trainer/metrics/progress.h"
#include "trainer/metrics/step_record.h"

namespace enodia {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

/// Step 12 of a model with dense layer 0 and MoE layers 1 and 2 on two ranks.
StepRecord record_of(std::vector<int64_t> tokens) {
  StepRecord record;
  record.step = 12;
  record.losses.loss = 4.25;
  record.update = {.grad_norm = 0.5, .applied = true};
  record.losses.load.first_layer = 1;
  record.losses.load.num_experts = static_cast<int64_t>(tokens.size()) / 2;
  record.losses.load.tokens = std::move(tokens);
  record.losses.load.rows = {3, 1, 2, 2};
  record.losses.load.entropy = {1.23456789, 0.5};
  return record;
}

std::map<std::string, double> scalars_of(const StepRecord& record) {
  std::map<std::string, double> scalars;
  for (const auto& [tag, value] : record.to_scalars()) {
    EXPECT_TRUE(scalars.emplace(tag, value).second) << tag << " is there twice";
  }
  return scalars;
}

TEST(StepRecord, ListsTheLoadOfEachMoeLayerInColumns) {
  const Json load = record_of({1, 1, 1, 0, 1, 8, 0, 3}).to_json().at("load");
  EXPECT_EQ(load.at("layer"), Json({1, 2}));
  EXPECT_EQ(load.at("p50"), Json({1.3333, 0.6667})) << "four decimals";
  EXPECT_EQ(load.at("max_violation"), Json({0.3333, 1.6667}));
  EXPECT_EQ(load.at("dead"), Json({1, 1}));
  EXPECT_EQ(load.at("hot"), Json({0, 1}));
  EXPECT_EQ(load.at("entropy"), Json({1.2346, 0.5}));
  for (const auto& [name, column] : load.items()) {
    EXPECT_EQ(column.size(), 2) << name;
  }
}

TEST(StepRecord, NamesTheWorstLayerAndDeadExpertsInItsLine) {
  EXPECT_THAT(record_of({1, 1, 1, 0, 1, 8, 0, 3}).to_line(20),
              EndsWith("| imbalance 2.00 (2.67 in layer 2) | dead 2"));
  EXPECT_THAT(record_of({2, 1, 1, 1}).to_line(20), EndsWith("| imbalance 1.17 (1.33 in layer 1)"));
}

TEST(StepRecord, TellsOfDroppedCopiesWhenThereAreAny) {
  StepRecord record = record_of({2, 1, 1, 1});
  EXPECT_THAT(record.to_line(20), Not(HasSubstr("dropped")));
  EXPECT_EQ(record.to_json().at("dropped_tokens"), 0);
  record.losses.load.dropped = 7;
  EXPECT_THAT(record.to_line(20), HasSubstr(" | dropped 7"));
  EXPECT_EQ(record.to_json().at("dropped_tokens"), 7);
}

TEST(StepRecord, OfADenseModelSaysNothingOfExperts) {
  StepRecord record = record_of({});
  record.losses.load = {};
  EXPECT_FALSE(record.to_json().contains("load"));
  EXPECT_THAT(record.to_line(20), EndsWith("| imbalance 1.00"));
  EXPECT_EQ(scalars_of(record).size(), 11);
}

TEST(StepRecord, GivesTensorBoardTheSameNumbers) {
  StepRecord record = record_of({1, 1, 1, 0, 1, 8, 0, 3});
  record.losses.aux_loss = 1.5;
  record.losses.z_loss = 2.5;
  record.lr = 1e-3;
  record.times.total = 20;
  record.tokens_per_s = 3000;
  record.tflops = 3;
  record.peak_tflops = 12;
  record.valid_loss = 4.5;
  const std::map<std::string, double> expected{{"loss/train", 4.25},
                                               {"loss/held_out", 4.5},
                                               {"loss/aux", 1.5},
                                               {"loss/z", 2.5},
                                               {"grad_norm", 0.5},
                                               {"lr", 1e-3},
                                               {"step_ms", 20},
                                               {"tokens_per_s", 3000},
                                               {"tflops", 3},
                                               {"mfu", 0.25},
                                               {"imbalance/expert", 2.0},
                                               {"imbalance/rank", 1.25},
                                               {"load/layer_1/max_violation", 4.0 / 3 - 1},
                                               {"load/layer_1/dead", 1},
                                               {"load/layer_1/hot", 0},
                                               {"load/layer_1/entropy", 1.23456789},
                                               {"load/layer_2/max_violation", 8.0 / 3 - 1},
                                               {"load/layer_2/dead", 1},
                                               {"load/layer_2/hot", 1},
                                               {"load/layer_2/entropy", 0.5}};
  EXPECT_EQ(scalars_of(record), expected);
}

TEST(StepRecord, TellsTheObjectiveOfALossOfOnesOwn) {
  StepRecord record = record_of({2, 1, 1, 1});
  EXPECT_FALSE(record.to_json().contains("objective"));
  EXPECT_EQ(scalars_of(record).count("loss/objective"), 0U);
  record.losses.objective = 4.75;
  EXPECT_EQ(record.to_json().at("objective"), 4.75);
  EXPECT_THAT(record.to_line(20), HasSubstr(" | objective 4.7500"));
  EXPECT_EQ(scalars_of(record).at("loss/objective"), 4.75);
}

TEST(StepRecord, WritesNullForWhatIsNotFinite) {
  StepRecord record = record_of({2, 1, 1, 1});
  record.losses.load.entropy[1] = std::numeric_limits<double>::quiet_NaN();
  record.update = {.grad_norm = std::numeric_limits<double>::infinity(), .applied = false};
  EXPECT_EQ(record.to_json().at("load").at("entropy"), Json({1.2346, nullptr}));
  EXPECT_EQ(record.to_json().at("grad_norm"), nullptr);
  EXPECT_THAT(record.to_line(20), HasSubstr("SKIPPED"));
  EXPECT_TRUE(std::isnan(scalars_of(record).at("load/layer_2/entropy")));
}

std::string shown(bool terminal) {
  Progress progress(20, 5, terminal);
  testing::internal::CaptureStdout();
  progress.show_evaluation(12, 300);
  progress.show(record_of({2, 1, 1, 1}));
  return testing::internal::GetCapturedStdout();
}

TEST(Progress, OfAnEvaluationIsALineThatItsStepReplaces) {
  EXPECT_THAT(shown(true),
              testing::StartsWith("\r\x1b[Kevaluating 12/300 micro-batches\r\x1b[Kstep 12/20"));
  EXPECT_THAT(shown(false), Not(HasSubstr("evaluating")));
}

}  // namespace
}  // namespace enodia
