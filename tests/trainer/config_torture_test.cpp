// Bad configurations generated from the schema: every one is refused with its place and a sentence.
#include <random>
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/config_testing.h"

namespace enodia {
namespace {

using testing::all_keys;
using ::testing::AnyOf;
using ::testing::Contains;
using testing::Document;
using ::testing::IsEmpty;
using testing::kMinimal;
using ::testing::MatchesRegex;
using testing::problems_of;
using testing::repeat;
using ::testing::SizeIs;
using ::testing::StartsWith;

using Values = std::vector<std::string>;

Values operator+(Values values, const Values& more) {
  values.insert(values.end(), more.begin(), more.end());
  return values;
}

// What no key takes, whatever its rule; a rule that is new to this file is tried with these.
const Values kNoValues = {"", "~", "null", "{a: 1}", "{}", "!!int 3", "!x y", "&a 3", "*a"};
// Numbers of other languages, and what is nearly a number.
const Values kNoNumbers = {
    "0x10",     "0X1f", "0o17",  "0b1",   "010",          "1_000", "1,000", "1 000",
    "+3",       ".inf", "-.inf", ".nan",  "inf",          "nan",   "yes",   "true",
    "many",     "''",   "'3'",   "\"3\"", "--3",          "3-",    "3e",    "e3",
    "0x",       "-",    "3.4.5", "1e400", "-1e400",       "[3]",   "[]",    "|\n    3",
    "\xc2\xb3", "Auto", "AUTO",  "auto1", "3 # 4 5\n   6"};

template <typename Rule>
Values refused_by(const Rule&) {
  return {};
}
Values refused_by(const IntegerRule& rule) {
  Values values = {"1.5",
                   "3.0",
                   "1e3",
                   ".5",
                   "3.",
                   "99999999999999999999",
                   "-99999999999999999999",
                   "9223372036854775808",
                   std::to_string(rule.min - 1),
                   "[auto]",
                   "'auto'"};
  if (rule.max < std::numeric_limits<int64_t>::max()) {
    values.push_back(std::to_string(rule.max + 1));
  }
  return kNoNumbers + values;
}
Values refused_by(const RealRule& rule) {
  return kNoNumbers + Values{"1e-400",
                             "-1e-400",
                             "-1",
                             rule.min_excluded ? "-0" : "-5e-324",
                             std::string(400, '9')};
}
Values refused_by(const PairRule&) {
  return {"3",
          "x",
          "[]",
          "[1]",
          "[0.1, 0.2, 0.3]",
          "[0.1, x]",
          "[0.1, ~]",
          "[0.1, [0.2]]",
          "[0.1, 1]",
          "[-0.1, 0.5]",
          "[0.1, 1e400]",
          "[0.1, .nan]",
          "[0.1, '0.2']",
          "[0x1, 0.2]"};
}
Values refused_by(const FlagRule&) {
  return {"yes", "no", "on", "off", "True", "FALSE", "y", "1", "0", "'true'", "truee", "[true]"};
}
Values refused_by(const TextRule& rule) {
  Values values = {
      "[a]", "[]", "\"a\\nb\"", "\"a\\0b\"", "|\n    a\n    b", std::string(5000, 'a')};
  return rule.may_be_empty ? values : values + Values{"''"};
}
Values refused_by(const ChoiceRule&) {
  return {"sideways", "''", "1", "[a]", "true", "Cosine", "softmaxx", std::string(5000, 'x')};
}

Values bad_values(const ConfigKey& key) {
  return kNoValues + std::visit([](const auto& rule) { return refused_by(rule); }, key.rule);
}

/// One line, of a length that can be read, with a place in the file.
void expect_placed_sentence(const std::string& problem) {
  static const std::regex placed("tiny\\.yaml(:[1-9][0-9]*:[1-9][0-9]*)?: .{10,}");
  EXPECT_TRUE(std::regex_match(problem, placed)) << problem;
  EXPECT_LE(problem.size(), 1000u);
  for (const char c : problem) {
    EXPECT_GE(static_cast<unsigned char>(c), 0x20) << problem;
  }
}

TEST(ConfigTorture, EveryKeyWithEveryBadValueIsToldOnItsLine) {
  int tried = 0;
  for (const ConfigKey& key : all_keys()) {
    for (const std::string& value : bad_values(key)) {
      Document document = Document::resolved();
      const size_t at = document.find(key);
      document.lines[at] = "  " + key.name + ": " + value;
      const std::vector<std::string> problems = problems_of(document.text());
      const std::string line = "tiny.yaml:" + std::to_string(at + 1) + ":";
      const std::string below = "tiny.yaml:" + std::to_string(at + 2) + ":";
      ASSERT_FALSE(problems.empty()) << key.path() << " took " << value;
      // Not always first: `&a 3` is also a 3, which may not go with a key further up.
      EXPECT_THAT(problems, Contains(AnyOf(StartsWith(line), StartsWith(below))));
      for (const std::string& problem : problems) {
        expect_placed_sentence(problem);
      }
      ++tried;
    }
  }
  EXPECT_GE(tried, 2000);
}

TEST(ConfigTorture, EveryKeyWithEveryBadOverrideIsTold) {
  for (const ConfigKey& key : all_keys()) {
    const auto* text = std::get_if<TextRule>(&key.rule);
    for (const std::string& value : bad_values(key)) {
      if (value.empty() && text != nullptr && text->may_be_empty) {
        continue;  // '' without its quotes
      }
      const std::vector<std::string> problems = problems_of(kMinimal, {key.path() + "=" + value});
      ASSERT_FALSE(problems.empty()) << key.path() << " took " << value;
      EXPECT_THAT(problems, Contains(StartsWith("--set " + key.path() + ": ")));
    }
  }
}

TEST(ConfigTorture, SeveralMistakesAreAllToldInOrder) {
  std::mt19937 engine(3);
  const std::vector<ConfigKey> keys = all_keys();
  for (int i = 0; i < 200; ++i) {
    Document document = Document::resolved();
    std::set<size_t> lines;
    while (lines.size() < 4) {
      const ConfigKey& key = keys[engine() % keys.size()];
      const size_t at = document.find(key);
      document.lines[at] = "  " + key.name + ": {a: " + std::to_string(engine() % 9) + "}";
      lines.insert(at);
    }
    const std::vector<std::string> problems = problems_of(document.text());
    ASSERT_THAT(problems, SizeIs(lines.size())) << document.text();
    size_t next = 0;
    for (const size_t line : lines) {
      EXPECT_THAT(problems[next++], StartsWith("tiny.yaml:" + std::to_string(line + 1) + ":"));
    }
  }
}

/// Nine lists, each of nine times the one before.
std::string alias_bomb() {
  std::string text = "a: &a [x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c <= 'i'; ++c) {
    text += std::string(1, c) + ": &" + c + " [" +
            repeat(std::string("*") + char(c - 1) + ", ", 8) + "*" + char(c - 1) + "]\n";
  }
  return text;
}

TEST(ConfigTorture, TextsThatAreNoConfigurationAreRefused) {
  const std::string nul(1, '\0');
  const std::vector<std::string> texts = {
      "",
      "\n\n",
      "# nothing but a comment\n",
      "\xef\xbb\xbf",
      "7",
      "- a\n- b\n",
      "null",
      "---\n...\n",
      "train",
      "train: 7\n",
      "train: [7]\n",
      "train:\n",
      alias_bomb(),
      repeat("[", 100000),
      repeat("{a: ", 5000),
      repeat("- ", 50000),
      "a: " + repeat("[", 100) + repeat("]", 100),
      kMinimal + "model: " + repeat("{a: ", 17) + "1" + repeat("}", 17) + "\n",
      kMinimal + "---\n" + kMinimal,
      kMinimal + "...\n---\nrun: {seed: 1}\n",
      kMinimal + kMinimal,
      kMinimal + "\tmodel: {}\n",
      kMinimal + "model:\n\thidden_size: 64\n",
      kMinimal + "run: {seed: 1}" + nul,
      kMinimal + "run: {name: \"a" + nul + "\"}",
      kMinimal + "run: {name: caf\xe9}\n",
      kMinimal + "run: {name: \xc0\xaf}\n",
      kMinimal + "run: {name: \xed\xa0\x80}\n",
      kMinimal + "model:\n  <<: {hidden_size: 64}\n",
      kMinimal + "run: &r {seed: 1}\nmodel: *r\n",
      kMinimal + "run: !!map {seed: 1}\n",
      kMinimal + "!!str run: {seed: 1}\n",
      kMinimal + "? [run, model]\n: 3\n",
      kMinimal + "1: 2\n",
      kMinimal + "~: 2\n",
      kMinimal + "run: {seed: 1\n",
      kMinimal + "run: {name: 'open}\n",
      kMinimal + "run: {name: \"\\q\"}\n",
      kMinimal + "run.seed: 3\n",
      kMinimal + "run: {seed: 1, seed: 1}\n",
      kMinimal + "run: {seed: 1}\nrun: {name: a}\n",
      kMinimal + "run: {" + std::string(100000, 'x') + ": 1}\n",
      kMinimal + "run: {seed: " + std::string(100000, '1') + "}\n",
      "%YAML 3.0\n---\n" + kMinimal + "nothing: 1\n",
      "%TAG ! tag:x,2000:\n---\n" + kMinimal + "run: !a {seed: 1}\n",
      kMinimal + "run:\n  seed: 1\n name: x\n",
      kMinimal + "run:\n  seed 1\n",
      kMinimal + "}\n",
      kMinimal + std::string(1 << 20, '#'),
      kMinimal + repeat("x" + std::string(50, 'y') + ": 1\n", 10000),
  };
  for (const std::string& text : texts) {
    const std::vector<std::string> problems = problems_of(text);
    EXPECT_FALSE(problems.empty()) << "was taken: " << text.substr(0, 300);
    for (const std::string& problem : problems) {
      if (!problem.starts_with("(and ")) {
        expect_placed_sentence(problem);
      }
    }
    EXPECT_LE(problems.size(), 41u);
  }
}

TEST(ConfigTorture, UnusualButSoundTextsPass) {
  std::string windows;
  for (const char c : kMinimal) {
    windows += c == '\n' ? "\r\n" : std::string(1, c);
  }
  for (const std::string& text : {windows,
                                  "\xef\xbb\xbf" + kMinimal,
                                  "---\n" + kMinimal + "...\n",
                                  "%YAML 1.2\n---\n" + kMinimal,
                                  kMinimal + "# " + std::string(100000, 'x') + "\n",
                                  kMinimal + "\"optim\": {\"lr\": 1E-3, min_lr: -0}\n",
                                  kMinimal + "run: {name: \"caf\xc3\xa9\"}\n"}) {
    EXPECT_THAT(problems_of(text), IsEmpty());
  }
}

}  // namespace
}  // namespace enodia
