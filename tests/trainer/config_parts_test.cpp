#include <gmock/gmock.h>

#include "tests/trainer/config_testing.h"
#include "trainer/config/differences.h"
#include "trainer/config/reference.h"

namespace enodia::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A program with parts of its own.
PartNames own_parts() {
  PartNames parts;
  parts.attentions = {"grouped_query", "mine"};
  parts.losses = {"cross_entropy", "smooth"};
  parts.settings["window"] = {16, "tokens seen"};
  return parts;
}

TrainConfig parse_own(const std::vector<std::string>& overrides) {
  return parse_train_config(kMinimal, "tiny.yaml", overrides, 0, own_parts());
}

std::vector<std::string> texts(const std::vector<ConfigChange>& changes) {
  std::vector<std::string> texts;
  for (const ConfigChange& change : changes) {
    texts.push_back((change.allowed ? "allowed " : "refused ") + change.text);
  }
  return texts;
}

TEST(ConfigParts, AreChosenByNameAndHaveSettings) {
  const TrainConfig chosen =
      parse_own({"model.attention=mine", "train.loss=smooth", "parts.window=-2.5"});
  EXPECT_EQ(chosen.model.attention, "mine");
  EXPECT_EQ(chosen.train.loss, "smooth");
  EXPECT_EQ(chosen.model.settings.at("window"), -2.5);
  const TrainConfig defaults = parse_own({});
  EXPECT_TRUE(defaults.model.is_built_in());
  EXPECT_FALSE(chosen.model.is_built_in());
  EXPECT_EQ(defaults.model.settings.at("window"), 16);
}

TEST(ConfigParts, OfAnotherProgramAreRefusedWithThoseThereAre) {
  EXPECT_THAT(
      problems_of(kMinimal, {"model.attention=mine", "model.router=x", "parts.window=2"}),
      ElementsAre("--set model.attention: model.attention must be grouped_query or mla, not 'mine'",
                  "--set model.router: model.router must be linear, not 'x'",
                  HasSubstr("--set parts.window: unknown ")));
}

TEST(ConfigParts, AreExplained) {
  const std::vector<KeyReference> found = find_reference("window", own_parts());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].path(), "parts.window");
  EXPECT_EQ(found[0].meaning, "tokens seen");
  EXPECT_EQ(found[0].value, "a number");
  EXPECT_EQ(found[0].default_value, "16");
  EXPECT_THROW(find_reference("window"), ConfigError);
}

TEST(ConfigParts, AreReadFromWhatAnotherProgramStored) {
  const std::string yaml = to_yaml(parse_own({"model.attention=mine", "parts.window=8"}));
  const StoredConfig stored = parse_stored_config(yaml, "config.yaml");
  EXPECT_EQ(stored.config.model.attention, "mine");
  EXPECT_EQ(stored.config.model.settings.at("window"), 8);
  EXPECT_TRUE(stored.unknown.empty());
  EXPECT_EQ(to_yaml(stored.config).substr(0, 20), yaml.substr(0, 20));
}

TEST(ConfigParts, MustStayButForTheLoss) {
  const TrainConfig stored =
      parse_stored_config(to_yaml(parse_own({"model.attention=mine", "parts.window=8"})), "s.yaml")
          .config;
  EXPECT_THAT(texts(list_changes(stored, {}, parse_own({"train.loss=smooth"}))),
              ElementsAre("refused model.attention: mine -> grouped_query (default)",
                          "refused parts.window: 8 -> 16 (default)",
                          "allowed train.loss: cross_entropy -> smooth (--set)"));
  EXPECT_THAT(texts(list_changes(stored, {}, parse(kMinimal))),
              ElementsAre("refused model.attention: mine -> grouped_query (default)",
                          "allowed parts.window: 8 -> this program has no such key"));
}

TEST(ConfigParts, ThatWereNotStoredHadTheirDefaults) {
  const TrainConfig stored = parse_stored_config(to_yaml(parse(kMinimal)), "s.yaml").config;
  EXPECT_THAT(texts(list_changes(stored, {}, parse_own({}))), ElementsAre());
  EXPECT_THAT(texts(list_changes(stored, {}, parse_own({"parts.window=3"}))),
              ElementsAre("refused parts.window: 16 -> 3 (--set)"));
}

}  // namespace
}  // namespace enodia::testing
