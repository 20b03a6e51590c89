#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/config_testing.h"

namespace enodia {
namespace {

using ::testing::HasSubstr;

/// A model unlike the defaults in every way that the tests look at.
InitialModel odd_model() {
  InitialModel initial;
  initial.model.vocab_size = 97;
  initial.model.hidden_size = 48;
  initial.model.num_attention_heads = 3;
  initial.model.num_key_value_heads = 1;
  initial.model.head_dim = 20;
  initial.model.rope_theta = 1234567.25;
  initial.model.use_qk_norm = false;
  initial.model.max_position_embeddings = 32;
  initial.router.aux_loss_coef = 0.0625;
  return initial;
}

TrainConfig parse_from(const InitialModel& initial,
                       const std::string& sections,
                       const std::vector<std::string>& overrides = {}) {
  const std::string yaml = testing::kMinimal + "  init: some/model\n" + sections;
  return parse_train_config(yaml, "tiny.yaml", overrides, 0, {}, [&](const TrainConfig& written) {
    EXPECT_EQ(written.train.init, "some/model");
    EXPECT_EQ(written.run.dir, "runs/tiny");
    return initial;
  });
}

std::string problem_of(const std::string& sections,
                       const std::vector<std::string>& overrides = {}) {
  InitialModel initial = odd_model();
  initial.model.max_position_embeddings = 64;
  try {
    parse_from(initial, sections, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(ConfigInitialModel, GivesWhatTheConfigurationLeavesOut) {
  const TrainConfig config = parse_from(odd_model(), "", {"train.sequence_length=32"});
  TrainConfig expected = config;
  expected.model = odd_model().model;
  expected.router = odd_model().router;
  EXPECT_EQ(to_yaml(config), to_yaml(expected));
  EXPECT_EQ(config.source_of("model.rope_theta").brief(), "train.init");
  EXPECT_EQ(config.source_of("train.steps").line, 4);
}

TEST(ConfigInitialModel, LetsRulesSeeItsValues) {
  try {
    parse_from(odd_model(), "");
    FAIL() << "a sequence of 64 exceeds the model's 32 positions";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("model.max_position_embeddings (32)"));
  }
}

TEST(ConfigInitialModel, YieldsToWhatMayDiffer) {
  const TrainConfig config =
      parse_from(odd_model(),
                 "model:\n  max_position_embeddings: 128\n  dtype: float64\n  hidden_size: 48\n"
                 "router:\n  aux_loss_coef: 0.5\n");
  EXPECT_EQ(config.model.max_position_embeddings, 128);
  EXPECT_EQ(config.model.dtype, DType::kFloat64);
  EXPECT_EQ(config.router.aux_loss_coef, 0.5);
  EXPECT_EQ(config.model.head_dim, 20);
}

TEST(ConfigInitialModel, RefusesAnotherShapeWhereItIsWritten) {
  EXPECT_EQ(
      problem_of("model:\n  hidden_size: 64\n"),
      "tiny.yaml:10:3: model.hidden_size (64) is 48 in the model 'some/model' that train.init "
      "names; leave it out, or start from another model");
  EXPECT_THAT(problem_of("", {"model.use_qk_norm=true"}),
              HasSubstr("--set model.use_qk_norm: model.use_qk_norm (true) is false in the model"));
  EXPECT_EQ(problem_of("model:\n  vocab_size: 0\n"), "");
  EXPECT_NE(problem_of("model:\n  vocab_size: 98\n"), "");
}

TEST(ConfigInitialModel, IsNotLookedForWithoutTrainInit) {
  const TrainConfig config =
      parse_train_config(testing::kMinimal, "tiny.yaml", {}, 0, {}, [](const TrainConfig&) {
        ADD_FAILURE() << "nothing to look for";
        return InitialModel();
      });
  EXPECT_EQ(config.model.hidden_size, ModelOptions().hidden_size);
}

TEST(ConfigInitialModel, AStoredModelNeedsNoTraining) {
  const TrainConfig config = parse_from(odd_model(), "", {"train.sequence_length=32"});
  const StoredConfig stored = parse_stored_config(model_to_yaml(config), "config.yaml");
  for (size_t i = 0; i < list_entries(config).size(); ++i) {
    const ConfigEntry entry = list_entries(config)[i];
    if (shapes_model(entry.path)) {
      EXPECT_EQ(list_entries(stored.config)[i].value, entry.value) << entry.path;
    }
  }
  EXPECT_EQ(stored.config.model.rope_theta, 1234567.25);
  EXPECT_EQ(stored.config.train.sequence_length, 0);
}

}  // namespace
}  // namespace enodia
