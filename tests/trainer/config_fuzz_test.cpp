// Random configurations read back exactly; random damage never does worse than a ConfigError.
#include <bit>
#include <cmath>
#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/file.h"
#include "tests/trainer/config_testing.h"
#include "trainer/config/schema.h"

namespace enodia {
namespace {

using testing::kMinimal;
using testing::parse;

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  /// In [0, count).
  size_t below(size_t count) { return engine_() % count; }
  bool coin() { return below(2) == 0; }
  /// A finite double above 0 with random bits.
  double positive() {
    for (;;) {
      const double value = std::abs(std::bit_cast<double>(engine_()));
      if (std::isfinite(value) && value > 0) {
        return value;
      }
    }
  }
  double fraction() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  std::string text() {
    const std::vector<std::string> pieces = {"a",
                                             "null",
                                             "~",
                                             " ",
                                             "#",
                                             ": ",
                                             "'",
                                             "\"",
                                             "\\",
                                             "- ",
                                             "[",
                                             "{",
                                             "&x",
                                             "*",
                                             "\xc3\xa9",
                                             "true",
                                             "!",
                                             "%",
                                             "|",
                                             ">",
                                             "1",
                                             "--",
                                             "\xe2\x80\xa8",
                                             "?",
                                             ",",
                                             "]",
                                             "}",
                                             "@",
                                             "`",
                                             "...",
                                             "\xf0\x9f\x98\x80"};
    std::string text = pieces[below(pieces.size())];
    for (size_t i = below(6); i > 0; --i) {
      text += pieces[below(pieces.size())];
    }
    return text;
  }

 private:
  std::mt19937_64 engine_;
};

TrainConfig random_config(Dice& dice) {
  TrainConfig config = parse(kMinimal);
  config.run = {dice.text(), dice.text() + "/x", static_cast<int64_t>(dice.below(SIZE_MAX) >> 1)};
  config.data.train = {{dice.text(), 1.0}};
  for (size_t i = dice.below(4); i > 0; --i) {
    config.data.train.push_back({dice.text() + std::to_string(i), 0.01 + dice.fraction()});
  }
  config.data.valid = dice.coin() ? "" : dice.text();
  config.data.order = dice.coin() ? SampleOrder::kShuffled : SampleOrder::kSequential;
  config.model.rope_theta = dice.positive();
  config.model.rms_norm_eps = dice.positive();
  config.model.initializer_range = dice.positive();
  config.model.routed_scaling_factor = dice.positive();
  config.model.tie_word_embeddings = dice.coin();
  config.model.dtype = dice.coin() ? DType::kFloat32 : DType::kFloat64;
  config.router.aux_loss_coef = dice.coin() ? 0.0 : dice.positive();
  config.router.z_loss_coef = dice.positive();
  config.parallel.dp = static_cast<int64_t>(dice.below(4));
  config.parallel.tp = 1 + static_cast<int64_t>(dice.below(3));
  config.parallel.ep = static_cast<int64_t>(dice.below(4));
  config.parallel.zero1 = static_cast<Zero1>(dice.below(3));
  config.train.recompute = static_cast<Recompute>(dice.below(3));
  config.optim.betas = {dice.fraction(), dice.fraction()};
  config.optim.eps = dice.positive();
  config.optim.weight_decay = dice.positive();
  config.optim.clip_norm = dice.coin() ? 0.0 : dice.positive();
  config.schedule.lr = dice.positive();
  config.schedule.kind = static_cast<ScheduleKind>(dice.below(4));
  config.schedule.min_lr =
      config.schedule.kind == ScheduleKind::kConstant ? 0.0 : config.schedule.lr * dice.fraction();
  config.sources["model.rope_theta"] = {dice.text() + "\n  seed: 7", 3, 4};
  return config;
}

TEST(ConfigRoundTrip, RandomConfigurationsReadBackExactly) {
  Dice dice(7);
  for (int i = 0; i < 1000; ++i) {
    const TrainConfig written = random_config(dice);
    const std::string yaml = to_yaml(written);
    TrainConfig read;
    ASSERT_NO_THROW(read = parse(yaml)) << yaml;
    EXPECT_EQ(to_yaml(read).size() > 0, true);
    const auto a = list_entries(written);
    const auto b = list_entries(read);
    ASSERT_EQ(a.size(), b.size());
    for (size_t k = 0; k < a.size(); ++k) {
      ASSERT_EQ(a[k].value, b[k].value) << a[k].path;
    }
    // Entries are text; these compare the fields themselves.
    ASSERT_EQ(written.model.rope_theta, read.model.rope_theta);
    ASSERT_EQ(written.schedule.lr, read.schedule.lr);
    ASSERT_EQ(written.schedule.min_lr, read.schedule.min_lr);
    ASSERT_EQ(written.optim.betas, read.optim.betas);
    ASSERT_EQ(written.optim.clip_norm, read.optim.clip_norm);
    ASSERT_EQ(written.data.train, read.data.train);
    ASSERT_EQ(written.run.name, read.run.name);
  }
}

TEST(ConfigRoundTrip, EachValueNamesItsSource) {
  const TrainConfig config = parse(kMinimal + "run:\n  seed: 5\n", {"optim.lr=0.5"});
  const std::string yaml = to_yaml(config);
  const auto has_line = [](const char* value, const char* comment) {
    return ::testing::ContainsRegex("\n  " + std::string(value) + " +# " + comment);
  };
  EXPECT_THAT(yaml, has_line("seed: 5", "tiny.yaml:9:3; of initial weights"));
  EXPECT_THAT(yaml, has_line("lr: 0.5", "--set; largest learning rate\n"));
  EXPECT_THAT(yaml, has_line("eps: 1e-08", "default; AdamW's guard"));
  EXPECT_THAT(yaml, has_line("name: tiny", "default; "));
  EXPECT_THAT(yaml, has_line("dp: auto", "default; "));
}

TEST(ConfigExamples, AreSoundAndSayWhatTheyShow) {
  for (const std::string name : {"tiny", "quickstart"}) {
    const std::string path = std::string(ENODIA_SOURCE_DIR) + "/configs/" + name + ".yaml";
    const std::string text = read_file(path);
    EXPECT_TRUE(text.starts_with("# ")) << path;
    const TrainConfig config = parse_train_config(text, path, {});
    EXPECT_EQ(config.run.dir, "runs/" + name);
    for (const int world_size : {1, 2}) {
      EXPECT_NO_THROW(parse_train_config(text, path, {}, world_size)) << path;
    }
  }
}

/// Deletes, doubles, swaps and inserts pieces of a sound text.
std::string damage(std::string text, Dice& dice) {
  const std::vector<std::string> pieces = {"[",
                                           "]",
                                           "{",
                                           "}",
                                           ": ",
                                           "- ",
                                           "\n",
                                           "  ",
                                           "\t",
                                           "&a ",
                                           "*a",
                                           "!t ",
                                           "<<: ",
                                           "? ",
                                           "#",
                                           "'",
                                           "\"",
                                           "|",
                                           ">",
                                           "%",
                                           "---",
                                           "...",
                                           "~",
                                           "\\",
                                           "0x",
                                           "1e999",
                                           "-",
                                           ",",
                                           "\xff",
                                           "\xc3",
                                           std::string(1, '\0'),
                                           "\xef\xbb\xbf",
                                           "\r",
                                           "nan",
                                           "!<",
                                           "!!",
                                           "@",
                                           "`",
                                           "\n  ? ",
                                           "|2-\n",
                                           "%TAG ! x\n",
                                           "99999999999999999999"};
  for (size_t i = 1 + dice.below(6); i > 0; --i) {
    const size_t at = dice.below(text.size() + 1);
    const size_t length = dice.below(12);
    switch (dice.below(5)) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, text.substr(dice.below(text.size() + 1), length));
        break;
      case 2:
        if (at < text.size()) {
          text[at] = static_cast<char>(dice.below(256));
        }
        break;
      default:
        text.insert(at, pieces[dice.below(pieces.size())]);
    }
  }
  return text;
}

TEST(ConfigFuzz, DamagedTextIsSoundOrAConfigError) {
  Dice dice(11);
  const std::string resolved = to_yaml(
      parse(kMinimal, {"data.train=[{prefix: a, weight: 0.3}, {prefix: b/c, weight: 0.7}]"}));
  int refused = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string text = damage(dice.coin() ? resolved : kMinimal, dice);
    try {
      const TrainConfig config = parse(text, {}, static_cast<int>(dice.below(8)));
      parse(to_yaml(config));
    } catch (const ConfigError& error) {
      ++refused;
      ASSERT_NE(std::string(error.what()).find("tiny.yaml"), std::string::npos) << error.what();
    }
  }
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 6000);
}

TEST(ConfigFuzz, DamagedOverridesAreSoundOrAConfigError) {
  Dice dice(13);
  TrainConfig schema;
  const std::vector<ConfigKey> keys = list_keys(schema);
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    const ConfigKey& key = keys[dice.below(keys.size())];
    const std::vector<std::string> overrides = {damage(key.path() + "=1", dice)};
    try {
      parse(kMinimal, overrides);
    } catch (const ConfigError& error) {
      ++refused;
      ASSERT_FALSE(std::string(error.what()).empty());
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(ConfigFuzz, RandomBytesAreAConfigError) {
  Dice dice(17);
  const std::string alphabet = "[]{}:-,?#&*!|>'\"%@` \n\t\\ab01~.<";
  for (int i = 0; i < 4000; ++i) {
    std::string text;
    for (size_t k = dice.below(60); k > 0; --k) {
      text += alphabet[dice.below(alphabet.size())];
    }
    EXPECT_THROW(parse(text), ConfigError) << text;
  }
}

}  // namespace
}  // namespace enodia
