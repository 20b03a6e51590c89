#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/wording.h"
#include "tests/trainer/config_testing.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kMinimal;
using testing::parse;
using testing::problems_of;

struct BadValue {
  const char* path;
  const char* value;
  const char* sentence;  ///< what follows "path "
};

void expect_refused(const BadValue& bad) {
  EXPECT_THAT(problems_of(kMinimal, {std::string(bad.path) + "=" + bad.value}),
              ElementsAre("--set " + std::string(bad.path) + ": " + bad.path + " " + bad.sentence));
}

TEST(ConfigValues, IntegersAreDecimalDigits) {
  const std::string must = "must be an integer from 1 to 1000000000, not ";
  const std::vector<std::pair<const char*, std::string>> cases = {
      {"0x10", "'0x10'; write it in decimal"},
      {"-0X1f", "'-0X1f'; write it in decimal"},
      {"0o17", "'0o17'; write it in decimal"},
      {"0b11", "'0b11'; write it in decimal"},
      {"1_000", "'1_000'; write it without underscores"},
      {"010", "'010'; write it without leading zeros"},
      {"+5", "'+5'; leave out the plus sign"},
      {"1e3", "'1e3'; write 1000"},
      {"64.0", "'64.0'; write 64"},
      {"1.5", "'1.5'; write an integer"},
      {"\"5\"", "the text '5'; remove the quotes"},
      {"9223372036854775808",
       "'9223372036854775808'; 64-bit integers reach from -9223372036854775808 to "
       "9223372036854775807"},
      {"1000000001", "'1000000001'"},
      {"0", "'0'"},
      {"-3", "'-3'"},
      {"true", "'true'"},
      {"ten", "'ten'"},
      {"5 steps", "'5 steps'"},
      {"{a: 1}", "a mapping"},
  };
  for (const auto& [value, ending] : cases) {
    expect_refused({"train.steps", value, (must + ending).c_str()});
  }
}

TEST(ConfigValues, WholeInt64IsReadForSeeds) {
  EXPECT_EQ(parse(kMinimal, {"run.seed=9223372036854775807"}).run.seed, INT64_MAX);
  expect_refused({"run.seed",
                  "9223372036854775808",
                  "must be an integer of at least 0, not '9223372036854775808'; 64-bit integers "
                  "reach from -9223372036854775808 to 9223372036854775807"});
  expect_refused({"run.seed", "-1", "must be an integer of at least 0, not '-1'"});
}

TEST(ConfigValues, RealsAreFiniteDecimals) {
  const std::string must = "must be a number above 0, not ";
  const std::string reach = "; double precision reaches from about 5e-324 to 1.8e308";
  const std::vector<std::pair<const char*, std::string>> cases = {
      {"1e400", "'1e400'" + reach},
      {"1e-400", "'1e-400'" + reach},
      {"nan", "'nan'"},
      {".nan", "'.nan'"},
      {"inf", "'inf'"},
      {"-.inf", "'-.inf'"},
      {".Inf", "'.Inf'"},
      {"0x1p3", "'0x1p3'; write it in decimal"},
      {"1_0.5", "'1_0.5'; write it without underscores"},
      {"00.5", "'00.5'; write it without leading zeros"},
      {"'0.5'", "the text '0.5'; remove the quotes"},
      {"0", "'0'"},
      {"-1e-3", "'-1e-3'"},
      {"1e", "'1e'"},
      {"1,5", "'1,5'"},
      {"--1", "'--1'"},
      {".", "'.'"},
      {"[1]", "a list"},
  };
  for (const auto& [value, ending] : cases) {
    expect_refused({"optim.lr", value, (must + ending).c_str()});
  }
  EXPECT_EQ(parse(kMinimal, {"optim.lr=1"}).schedule.lr, 1.0);
  EXPECT_EQ(parse(kMinimal, {"optim.lr=.5"}).schedule.lr, 0.5);
  EXPECT_EQ(parse(kMinimal, {"optim.lr=3E-4"}).schedule.lr, 3e-4);
  EXPECT_EQ(parse(kMinimal, {"optim.lr=5e-324"}).schedule.lr, 5e-324);
}

TEST(ConfigValues, FlagsAreTrueOrFalseOnly) {
  for (const char* word : {"yes", "Yes", "on", "ON", "y", "True", "TRUE"}) {
    expect_refused({"model.attention_bias",
                    word,
                    ("must be true or false, not " + quote(word) + "; write true").c_str()});
  }
  for (const char* word : {"no", "NO", "off", "n", "False"}) {
    expect_refused({"model.attention_bias",
                    word,
                    ("must be true or false, not " + quote(word) + "; write false").c_str()});
  }
  expect_refused({"model.attention_bias", "1", "must be true or false, not '1'"});
  expect_refused({"model.attention_bias",
                  "'true'",
                  "must be true or false, not the text 'true'; remove the quotes"});
  EXPECT_TRUE(parse(kMinimal, {"model.attention_bias=true"}).model.attention_bias);
  EXPECT_FALSE(parse(kMinimal, {"model.use_qk_norm=false"}).model.use_qk_norm);
}

TEST(ConfigValues, ChoicesSuggestTheNearestWord) {
  expect_refused({"optim.schedule",
                  "cosin",
                  "must be cosine, linear, wsd or constant, not 'cosin'; did you mean cosine?"});
  expect_refused({"model.dtype",
                  "float16",
                  "must be float32, bfloat16 or float64, not 'float16'; did you mean bfloat16?"});
  expect_refused({"model.scoring_func",
                  "sigmoids",
                  "must be softmax or sigmoid, not 'sigmoids'; did you mean sigmoid?"});
  expect_refused({"data.order",
                  "Shuffled",
                  "must be shuffled or sequential, not 'Shuffled'; did you mean shuffled?"});
  EXPECT_EQ(parse(kMinimal, {"model.dtype=float64"}).model.dtype, DType::kFloat64);
  EXPECT_EQ(parse(kMinimal, {"data.order=sequential"}).data.order, SampleOrder::kSequential);
}

TEST(ConfigValues, BetasAreTwoNumbersBelowOne) {
  const std::string must =
      "must be a list of two numbers, each a number of at least 0 and below 1, not ";
  expect_refused({"optim.betas", "0.9", (must + "'0.9'").c_str()});
  expect_refused({"optim.betas", "[0.9]", (must + "a list of 1").c_str()});
  expect_refused({"optim.betas", "[0.9, 0.95, 0.99]", (must + "a list of 3").c_str()});
  expect_refused(
      {"optim.betas", "[0.9, 1]", "number 2 must be a number of at least 0 and below 1, not '1'"});
  expect_refused({"optim.betas",
                  "[~, 0.5]",
                  "number 1 must be a number of at least 0 and below 1, not nothing"});
  const TrainConfig config = parse(kMinimal, {"optim.betas=[0.8, 0.99]"});
  EXPECT_THAT(config.optim.betas, ElementsAre(0.8, 0.99));
}

TEST(ConfigValues, AutoStandsForZeroWhereItIsOffered) {
  const TrainConfig config = parse(kMinimal, {"parallel.dp=auto", "optim.decay_samples=auto"});
  EXPECT_EQ(config.parallel.dp, 0);
  EXPECT_EQ(config.schedule.decay_samples, 0);
  EXPECT_EQ(config.run_samples(), 800);
  EXPECT_EQ(parse(kMinimal, {"optim.decay_samples=70"}).schedule.decay_samples, 70);
  expect_refused({"parallel.ep", "0", "must be an integer from 1 to 65536 or auto, not '0'"});
  expect_refused({"parallel.ep", "all", "must be an integer from 1 to 65536 or auto, not 'all'"});
  expect_refused({"parallel.ep",
                  "'auto'",
                  "must be an integer from 1 to 65536 or auto, not the text 'auto'; remove the "
                  "quotes"});
}

TEST(ConfigValues, TextIsAnythingPrintable) {
  EXPECT_EQ(parse(kMinimal, {"run.name=my run 7"}).run.name, "my run 7");
  EXPECT_EQ(parse(kMinimal, {"run.name=007"}).run.name, "007");
  EXPECT_EQ(parse(kMinimal, {"run.name=\"null\""}).run.name, "null");
  EXPECT_THAT(parse(kMinimal, {"data.train=a=b"}).data.train, ElementsAre(DataSource{"a=b", 1}));
  EXPECT_EQ(parse(kMinimal, {"data.valid=\"\""}).data.valid, "");
  expect_refused({"data.train", "\"\"", "must be text that is not empty, not the text ''"});
  expect_refused({"run.dir",
                  "\"a\\0b\"",
                  "must be text that is not empty, not the text 'a\\x00b'; control characters and "
                  "line breaks are not allowed"});
  expect_refused(
      {"run.dir", std::string(4097, 'x').c_str(), "must be at most 4096 bytes long, not 4097"});
}

TEST(ConfigValues, NameAndFolderFollowFromTheFileUnlessWritten) {
  const TrainConfig plain = parse_train_config(kMinimal, "configs/tiny.v2.yaml", {});
  EXPECT_EQ(plain.run.name, "tiny.v2");
  EXPECT_EQ(plain.run.dir, "runs/tiny.v2");
  const TrainConfig odd = parse_train_config(kMinimal, "a\nb\xff.yaml", {});
  EXPECT_EQ(odd.run.name, "a_b_");
  EXPECT_EQ(parse(to_yaml(odd)).run.name, "a_b_");
  const TrainConfig named = parse(kMinimal, {"run.name=other"});
  EXPECT_EQ(named.run.dir, "runs/other");
  EXPECT_EQ(parse(kMinimal, {"run.dir=/tmp/x"}).run.name, "tiny");
  expect_refused(
      {"run.name", "a/b", "(a/b) must be a single word without '/'; paths go to run.dir"});
}

TEST(ConfigValues, DefaultsAreTheDocumentedOnes) {
  const TrainConfig config = parse(kMinimal);
  EXPECT_EQ(config.run.seed, 1);
  EXPECT_EQ(config.model.vocab_size, 0);
  EXPECT_EQ(config.router.aux_loss_coef, 0.001);
  EXPECT_EQ(config.schedule.lr, 1e-3);
  EXPECT_EQ(config.schedule.kind, ScheduleKind::kCosine);
  EXPECT_THAT(config.optim.betas, ElementsAre(0.9, 0.95));
  EXPECT_EQ(config.optim.clip_norm, 1.0);
  EXPECT_EQ(config.data.order, SampleOrder::kShuffled);
  EXPECT_EQ(config.train.log_interval, 1);
  EXPECT_EQ(config.checkpoint.keep, 2);
}

TEST(ConfigWording, DistanceCountsEdits) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("steps", "steps"), 0);
}

TEST(ConfigWording, NearestWordIsCautiousWithShortOnes) {
  const std::vector<std::string> words = {"dp", "ep", "seed", "hidden_size"};
  EXPECT_EQ(nearest_word("tp", words), "");
  EXPECT_EQ(nearest_word("epp", words), "ep");
  EXPECT_EQ(nearest_word("seet", words), "seed");
  EXPECT_EQ(nearest_word("sxxd", words), "");
  EXPECT_EQ(nearest_word("hiden_sze", words), "hidden_size");
  EXPECT_EQ(nearest_word("hden_sze", words), "");
}

TEST(ConfigWording, QuotesStayOnOneShortLine) {
  EXPECT_EQ(quote("a\nb\x7f"), "'a\\x0ab\\x7f'");
  EXPECT_EQ(quote(std::string(59, 'a') + "\xc3\xa9"), "'" + std::string(59, 'a') + "...'");
  EXPECT_EQ(quote(std::string(61, 'a')), "'" + std::string(60, 'a') + "...'");
}

}  // namespace
}  // namespace enodia
