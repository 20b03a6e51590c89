// Drives every key of the schema through every kind of mistake.
#include <cmath>
#include <limits>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/model_options.h"
#include "optim/optim_options.h"
#include "tests/trainer/config_testing.h"
#include "trainer/config/schema.h"

namespace enodia {
namespace {

using testing::all_keys;
using ::testing::AllOf;
using ::testing::Contains;
using testing::Document;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kMinimal;
using testing::parse;
using testing::problems_of;
using ::testing::StartsWith;

std::string place(size_t line_index) {
  return "tiny.yaml:" + std::to_string(line_index + 1) + ":";
}

std::string wrong_type(const ConfigKey& key) {
  if (std::holds_alternative<SourceListRule>(key.rule)) {
    return "{a: b}";
  }
  return std::holds_alternative<PairRule>(key.rule) ? "7" : "[a, b]";
}

/// A value of the right type that the rule refuses, if there is one.
std::optional<std::string> out_of_range(const ValueRule& rule) {
  if (const auto* integer = std::get_if<IntegerRule>(&rule)) {
    return std::to_string(integer->min - 1);
  }
  if (const auto* real = std::get_if<RealRule>(&rule)) {
    return real->min_excluded ? "0" : "-0.5";
  }
  if (std::holds_alternative<PairRule>(rule)) {
    return "[0.5, 1]";
  }
  if (std::holds_alternative<TextRule>(rule)) {
    return "\"a\\nb\"";
  }
  if (std::holds_alternative<ChoiceRule>(rule)) {
    return "sideways";
  }
  if (std::holds_alternative<SourceListRule>(rule)) {
    return "[]";
  }
  return std::nullopt;
}

TEST(ConfigSchema, NamesNoKeyTwiceAndExplainsEach) {
  std::set<std::string> paths;
  for (const ConfigKey& key : all_keys()) {
    EXPECT_TRUE(paths.insert(key.path()).second) << key.path();
    EXPECT_FALSE(key.meaning.empty()) << key.path();
  }
  EXPECT_GE(paths.size(), 50u);
}

TEST(ConfigSchema, ResolvedDocumentIsSound) {
  EXPECT_THAT(problems_of(Document::resolved().text()), IsEmpty());
}

TEST(ConfigSchema, MisspeltKeysNameTheKeyThatWasMeant) {
  for (const ConfigKey& key : all_keys()) {
    Document document = Document::resolved();
    const size_t at = document.find(key);
    document.lines[at].insert(2 + key.name.size(), "x");
    EXPECT_THAT(problems_of(document.text()),
                Contains(place(at) + "3: unknown key '" + key.path() + "x'; did you mean '" +
                         key.path() + "'?"));
    EXPECT_THAT(problems_of(kMinimal, {key.path() + "x=1"}),
                ElementsAre("--set " + key.path() + "x: unknown key '" + key.path() +
                            "x'; did you mean '" + key.path() + "'?"));
  }
}

TEST(ConfigSchema, WrongTypesNamePathAndPlace) {
  for (const ConfigKey& key : all_keys()) {
    Document document = Document::resolved();
    const size_t at = document.find(key);
    document.lines[at] = "  " + key.name + ": " + wrong_type(key);
    const std::string column = std::to_string(key.name.size() + 5);
    EXPECT_THAT(problems_of(document.text()),
                ElementsAre(StartsWith(place(at) + column + ": " + key.path() + " must be ")));
    EXPECT_THAT(problems_of(kMinimal, {key.path() + "=" + wrong_type(key)}),
                ElementsAre(StartsWith("--set " + key.path() + ": " + key.path() + " must be ")));
  }
}

TEST(ConfigSchema, ValuesOutOfRangeNamePathAndPlace) {
  int tried = 0;
  for (const ConfigKey& key : all_keys()) {
    const std::optional<std::string> value = out_of_range(key.rule);
    if (!value) {
      continue;
    }
    ++tried;
    Document document = Document::resolved();
    const size_t at = document.find(key);
    document.lines[at] = "  " + key.name + ": " + *value;
    EXPECT_THAT(problems_of(document.text()),
                ElementsAre(AllOf(StartsWith(place(at)), HasSubstr(key.path()))))
        << key.path() << " " << *value;
    EXPECT_THAT(problems_of(kMinimal, {key.path() + "=" + *value}),
                ElementsAre(StartsWith("--set " + key.path() + ": " + key.path())));
  }
  EXPECT_GE(tried, 40);
}

TEST(ConfigSchema, DuplicateKeysNameBothLines) {
  for (const ConfigKey& key : all_keys()) {
    Document document = Document::resolved();
    const size_t at = document.find(key);
    document.lines.insert(document.lines.begin() + static_cast<std::ptrdiff_t>(at),
                          document.lines[at]);
    EXPECT_THAT(
        problems_of(document.text()),
        ElementsAre(place(at + 1) + "3: duplicate key '" + key.path() + "'; it stands on line " +
                    std::to_string(at + 1) + " already; keep one"));
  }
}

TEST(ConfigSchema, NullsAreNoValues) {
  for (const ConfigKey& key : all_keys()) {
    for (const char* null : {"", " ~", " null"}) {
      Document document = Document::resolved();
      const size_t at = document.find(key);
      document.lines[at] = "  " + key.name + ":" + null;
      EXPECT_THAT(problems_of(document.text()),
                  ElementsAre(StartsWith(place(at) + "3: " + key.path() + " has no value")));
    }
    // In a shell --set key='' has lost its quotes.
    const auto* text = std::get_if<TextRule>(&key.rule);
    if (text != nullptr && text->may_be_empty) {
      EXPECT_THAT(problems_of(kMinimal, {key.path() + "="}), IsEmpty());
      continue;
    }
    EXPECT_THAT(
        problems_of(kMinimal, {key.path() + "="}),
        ElementsAre(StartsWith("--set " + key.path() + ": " + key.path() + " has no value")));
  }
}

TEST(ConfigSchema, OverridesSayTheSameAsTheFile) {
  for (const ConfigKey& key : all_keys()) {
    const std::string value = key.name == "scoring_func" ? "softmax" : "";
    Document document = Document::resolved();
    const std::string line = document.lines[document.find(key)];
    const std::string written = line.substr(line.find(": ") + 2);
    const TrainConfig config = parse(kMinimal, {key.path() + "=" + written});
    EXPECT_EQ(config.sources.at(key.path()).origin, "--set " + key.path());
    EXPECT_THAT(to_yaml(config), HasSubstr("  " + key.name + ": " + written + " "));
  }
}

// The table's ranges and the options' own check() are written apart; they must agree.
template <typename Options, typename Field>
void expect_same_range(const std::string& path, Field Options::*field, Field value, bool sound) {
  Options options;
  options.*field = value;
  const std::string name = path.substr(path.find('.') + 1);
  const auto violations = violations_of(options);
  const bool refused =
      std::any_of(violations.begin(), violations.end(), [&](const std::string& sentence) {
        return sentence.starts_with(name + " (") &&
               (sentence.find(") must be ") != std::string::npos ||
                sentence.find(") must not be below") != std::string::npos) &&
               sentence.find("even") == std::string::npos;
      });
  EXPECT_EQ(refused, !sound) << path << " = " << value;
}

const ConfigKey& find_key(const std::vector<ConfigKey>& keys, const std::string& path) {
  for (const ConfigKey& key : keys) {
    if (key.path() == path) {
      return key;
    }
  }
  throw std::out_of_range(path);
}

TEST(ConfigSchema, IntegerRangesAgreeWithChecks) {
  const std::vector<ConfigKey> keys = all_keys();
  const std::vector<std::pair<std::string, int64_t ModelOptions::*>> fields = {
      {"model.vocab_size", &ModelOptions::vocab_size},
      {"model.hidden_size", &ModelOptions::hidden_size},
      {"model.num_hidden_layers", &ModelOptions::num_hidden_layers},
      {"model.num_attention_heads", &ModelOptions::num_attention_heads},
      {"model.num_key_value_heads", &ModelOptions::num_key_value_heads},
      {"model.head_dim", &ModelOptions::head_dim},
      {"model.intermediate_size", &ModelOptions::intermediate_size},
      {"model.moe_intermediate_size", &ModelOptions::moe_intermediate_size},
      {"model.num_experts", &ModelOptions::num_experts},
      {"model.num_experts_per_tok", &ModelOptions::num_experts_per_tok},
      {"model.num_shared_experts", &ModelOptions::num_shared_experts},
      {"model.first_k_dense_replace", &ModelOptions::first_k_dense_replace},
      {"model.max_position_embeddings", &ModelOptions::max_position_embeddings},
  };
  for (const auto& [path, field] : fields) {
    const auto& rule = std::get<IntegerRule>(find_key(keys, path).rule);
    expect_same_range(path, field, rule.min - 1, false);
    expect_same_range(path, field, rule.min, true);
    expect_same_range(path, field, rule.max, true);
    expect_same_range(path, field, rule.max + 1, false);
  }
  expect_same_range("optim.warmup_samples", &ScheduleOptions::warmup_samples, int64_t{-1}, false);
  expect_same_range("optim.decay_samples", &ScheduleOptions::decay_samples, int64_t{-1}, false);
}

template <typename Options>
void expect_same_real_range(const std::string& path, double Options::*field) {
  const std::vector<ConfigKey> keys = all_keys();
  const auto& rule = std::get<RealRule>(find_key(keys, path).rule);
  expect_same_range(path, field, rule.min, !rule.min_excluded);
  expect_same_range(path, field, std::nextafter(rule.min, -1.0), false);
  expect_same_range(path, field, std::nextafter(rule.min, 1.0), true);
  expect_same_range(path, field, std::numeric_limits<double>::infinity(), false);
  expect_same_range(path, field, std::numeric_limits<double>::quiet_NaN(), false);
}

TEST(ConfigSchema, RealRangesAgreeWithChecks) {
  expect_same_real_range("model.routed_scaling_factor", &ModelOptions::routed_scaling_factor);
  expect_same_real_range("model.rope_theta", &ModelOptions::rope_theta);
  expect_same_real_range("model.rms_norm_eps", &ModelOptions::rms_norm_eps);
  expect_same_real_range("model.initializer_range", &ModelOptions::initializer_range);
  expect_same_real_range("router.aux_loss_coef", &RouterOptions::aux_loss_coef);
  expect_same_real_range("router.z_loss_coef", &RouterOptions::z_loss_coef);
  expect_same_real_range("optim.lr", &ScheduleOptions::lr);
  expect_same_real_range("optim.min_lr", &ScheduleOptions::min_lr);
  expect_same_real_range("optim.eps", &OptimOptions::eps);
  expect_same_real_range("optim.weight_decay", &OptimOptions::weight_decay);
  expect_same_real_range("optim.clip_norm", &OptimOptions::clip_norm);
}

}  // namespace
}  // namespace enodia
