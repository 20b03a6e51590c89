// data.train as a list of sources.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/config_testing.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kMinimal;
using testing::parse;
using testing::problems_of;

/// kMinimal with this in place of the prefix, which begins on line 2.
std::string with_sources(const std::string& value) {
  std::string yaml = kMinimal;
  const std::string prefix = " data/tiny/train\n";
  return yaml.replace(yaml.find(prefix), prefix.size(), value + "\n");
}

TEST(ConfigSources, AreOnePrefixOrAListWithWeights) {
  const std::vector<DataSource> blend = {{"data/a", 3}, {"b", 0.5}};
  EXPECT_EQ(parse(kMinimal).data.train, std::vector<DataSource>({{"data/tiny/train", 1.0}}));
  EXPECT_EQ(
      parse(with_sources("\n    - prefix: data/a\n      weight: 3\n    - {weight: .5, prefix: b}"))
          .data.train,
      blend);
  EXPECT_EQ(parse(kMinimal, {"data.train=[{prefix: data/a, weight: 3}, {prefix: b, weight: 0.5}]"})
                .data.train,
            blend);
  EXPECT_EQ(parse(with_sources(" [{prefix: a, weight: 2}]"), {"data.train=c"}).data.train,
            std::vector<DataSource>({{"c", 1.0}}));
}

TEST(ConfigSources, AreWrittenBackSoThatTheyReadTheSame) {
  const auto written = [](const std::vector<DataSource>& sources) {
    TrainConfig config = parse(kMinimal);
    config.data.train = sources;
    EXPECT_EQ(parse(to_yaml(config)).data.train, sources);
    const std::string yaml = to_yaml(config);
    const size_t begin = yaml.find("  train: ") + 9;
    const std::string value = yaml.substr(begin, yaml.find("  #", begin) - begin);
    return value.substr(0, value.find_last_not_of(' ') + 1);  // comments are aligned
  };
  EXPECT_EQ(written({{"data/a", 1}}), "data/a");
  EXPECT_EQ(written({{"data/a", 2}}), "[{prefix: data/a, weight: 2}]");
  EXPECT_EQ(written({{"a", 0.1}, {"b, c: {d}", 1e-3}}),
            "[{prefix: a, weight: 0.1}, {prefix: \"b, c: {d}\", weight: 0.001}]");
}

TEST(ConfigSources, AreReadAsStrictlyAsSections) {
  EXPECT_THAT(
      problems_of(with_sources("\n"
                               "    - {prefix: a, wieght: 1}\n"
                               "    - {prefix: \"\", weight: 0}\n"
                               "    - {prefix: [a], weight: \"2\"}\n"
                               "    - b\n"
                               "    - {weight: 1}\n"
                               "    - {prefix: c, weight:}\n"
                               "    - {prefix: d, prefix: e, weight: 1e400}\n"
                               "    - {prefix: f, weight: &x 1, color: red}")),
      ElementsAre("tiny.yaml:3:7: data.train entry 1 has no weight; write {prefix: PREFIX, "
                  "weight: W}",
                  "tiny.yaml:3:19: data.train entry 1 has the unknown key 'wieght'; did you "
                  "mean 'weight'?",
                  "tiny.yaml:4:16: data.train entry 2 prefix must be text that is not "
                  "empty, not the text ''",
                  "tiny.yaml:4:28: data.train entry 2 weight must be a number above 0, not "
                  "'0'",
                  "tiny.yaml:5:16: data.train entry 3 prefix must be text that is not "
                  "empty, not a list",
                  "tiny.yaml:5:29: data.train entry 3 weight must be a number above 0, not "
                  "the text '2'; remove the quotes",
                  "tiny.yaml:6:7: data.train entry 4 must be a mapping {prefix: PREFIX, "
                  "weight: W}",
                  "tiny.yaml:7:7: data.train entry 5 has no prefix; write {prefix: PREFIX, "
                  "weight: W}",
                  "tiny.yaml:8:19: data.train entry 6 weight has no value; it must be a "
                  "number above 0",
                  "tiny.yaml:9:19: duplicate key 'data.train.prefix'; it stands on line 9 "
                  "already; keep one",
                  HasSubstr("tiny.yaml:9:38: data.train entry 7 weight must be a number "
                            "above 0, not '1e400'; double"),
                  HasSubstr("anchors are not supported"),
                  "tiny.yaml:10:33: data.train entry 8 has the unknown key 'color'; its keys "
                  "are prefix and weight"));
}

TEST(ConfigSources, AreCheckedAsAWhole) {
  const auto told = [](const std::string& list) {
    const auto lines = problems_of(kMinimal, {"data.train=" + list});
    return lines.size() == 1 ? lines[0].substr(std::string("--set data.train: ").size()) : "none";
  };
  EXPECT_EQ(told("[]"), "data.train must be a list of 1 to 256 sources, not of 0");
  EXPECT_EQ(told("{prefix: a, weight: 1}"),
            "data.train must be a prefix or a list of {prefix: PREFIX, weight: W}, not a mapping");
  EXPECT_EQ(told("[{prefix: a, weight: 1}, {prefix: b, weight: 1}, {prefix: a, weight: 2}]"),
            "data.train entry 3 has the prefix of entry 1; add up their weights");
  EXPECT_EQ(
      told("[{prefix: a, weight: 1e308}, {prefix: b, weight: 1e308}, {prefix: c, weight: 1}]"),
      "data.train entry 3 has a weight (1) below a millionth of the sum of all; raise it or "
      "leave the entry out");
  std::string many = "[";
  for (int i = 0; i < 257; ++i) {
    many += "{prefix: p" + std::to_string(i) + ", weight: 1},";
  }
  EXPECT_EQ(told(many + "]"), "data.train must be a list of 1 to 256 sources, not of 257");
}

}  // namespace
}  // namespace enodia
