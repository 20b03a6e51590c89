// What the YAML text itself may not do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/config_testing.h"
#include "trainer/config/yaml_tree.h"

namespace enodia {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kMinimal;
using testing::parse;
using testing::problems_of;
using testing::repeat;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST(ConfigYaml, DeepNestingIsRefusedWithoutOverflowingTheStack) {
  for (const auto& [open, close] : {std::pair("[", "]"), {"{a: ", "}"}, {"- ", ""}}) {
    EXPECT_THAT(problems_of(repeat(open, 10000) + repeat(close, 10000)),
                ElementsAre(HasSubstr("nested deeper than 16")))
        << open;
  }
  // Brackets left open look like keys to yaml-cpp; what counts is that they are refused.
  for (const char* open : {"[", "{", "? ", "[[], ", "{a: ", ": ", "[a: "}) {
    EXPECT_THAT(problems_of(repeat(open, 100000)), ElementsAre(StartsWith("tiny.yaml:1:"))) << open;
  }
}

TEST(ConfigYaml, SixteenLevelsAreRead) {
  EXPECT_THAT(parse_yaml(repeat("[", 16) + repeat("]", 16)).complaints, IsEmpty());
  EXPECT_THAT(parse_yaml(repeat("[", 17) + repeat("]", 17)).complaints, SizeIs(1));
}

TEST(ConfigYaml, AnchorsAliasesAndBombsAreRefused) {
  EXPECT_THAT(problems_of(kMinimal + "optim:\n  lr: &x 1e-3\n  min_lr: *x\n"),
              ElementsAre("tiny.yaml:9:7: anchors are not supported; remove '&x'",
                          "tiny.yaml:10:11: aliases are not supported; write the value out"));
  std::string bomb = "a0: &a0 [x, x]\n";
  for (int i = 1; i < 60; ++i) {
    const std::string last = std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + last + ", *a" + last +
            "]\n";
  }
  EXPECT_THAT(problems_of(bomb), Contains(HasSubstr("aliases are not supported")));
}

TEST(ConfigYaml, MergeKeysTagsAndOddKeysAreRefused) {
  EXPECT_THAT(
      problems_of(kMinimal + "model:\n  <<: {head_dim: 32}\n"),
      ElementsAre("tiny.yaml:9:3: merge keys ('<<') are not supported; write the keys out"));
  EXPECT_THAT(problems_of(kMinimal + "run:\n  seed: !!int 3\n"),
              ElementsAre("tiny.yaml:9:9: tags are not supported; remove 'tag:yaml.org,2002:int'"));
  EXPECT_THAT(problems_of(kMinimal + "run: !thing\n  seed: 3\n"),
              ElementsAre("tiny.yaml:8:6: tags are not supported; remove '!thing'"));
  EXPECT_THAT(
      problems_of("? [a, b]\n: 1\n"),
      ElementsAre("tiny.yaml:1:3: a list, mapping or alias cannot be a key; is a bracket left "
                  "open?"));
  EXPECT_THAT(problems_of("train: {steps: [1, 2}\n"), ElementsAre(StartsWith("tiny.yaml:1:")));
  EXPECT_THAT(problems_of(kMinimal + "run:\n  ~: 3\n"),
              ElementsAre(HasSubstr("a key must be a plain word")));
}

TEST(ConfigYaml, OneDocumentOnly) {
  EXPECT_THAT(problems_of(kMinimal + "---\n" + kMinimal),
              ElementsAre("tiny.yaml:8:1: a second document begins here; a configuration is one "
                          "document"));
  EXPECT_THAT(problems_of("---\n" + kMinimal + "...\n"), IsEmpty());
}

TEST(ConfigYaml, EmptyTextNamesTheRequiredKeys) {
  for (const char* text : {"", "\n", "# only a comment\n", "---\n", "~\n", "   "}) {
    EXPECT_THAT(problems_of(text),
                ElementsAre("tiny.yaml: the file is empty; it needs at least data.train, "
                            "train.steps, train.global_batch_size, train.micro_batch_size, "
                            "train.sequence_length"))
        << text;
  }
}

TEST(ConfigYaml, TopLevelIsAMapping) {
  for (const char* text : {"- train\n- data\n", "just text\n", "[1, 2]\n", "42\n"}) {
    EXPECT_THAT(problems_of(text),
                ElementsAre("tiny.yaml:1:1: the top level must be a mapping of sections (run, "
                            "model, router, parallel, placement, optim, data, train, checkpoint, "
                            "trace), not a list "
                            "or a single value"))
        << text;
  }
}

TEST(ConfigYaml, SectionsAreMappings) {
  EXPECT_THAT(problems_of(kMinimal + "model: 3\nrouter:\n"),
              ElementsAre("tiny.yaml:8:8: model is a section and must be a mapping of keys",
                          "tiny.yaml:9:1: the section router has no keys; give it some or remove "
                          "it"));
}

TEST(ConfigYaml, DuplicateSectionsAreRefused) {
  EXPECT_THAT(problems_of(kMinimal + "run:\n  seed: 1\nrun:\n  name: a\n"),
              ElementsAre("tiny.yaml:10:1: duplicate key 'run'; it stands on line 8 already; keep "
                          "one"));
}

TEST(ConfigYaml, TabsCannotIndent) {
  EXPECT_THAT(problems_of("train:\n  # fine\n \tsteps: 3\n"),
              ElementsAre("tiny.yaml:3:2: a tab cannot indent YAML; use spaces"));
  EXPECT_THAT(problems_of(kMinimal + "run:\n  seed: 1\t# a tab before a comment\n"), IsEmpty());
}

TEST(ConfigYaml, BytesMustBeUtf8Text) {
  const std::vector<std::string> not_utf8 = {"\xff\xfe",
                                             "\x80",
                                             "\xc0\xaf",
                                             "\xc3",
                                             "\xe0\x80\x80",
                                             "\xed\xa0\x80",
                                             "\xf4\x90\x80\x80",
                                             "\xf5\x80\x80\x80",
                                             "\xe2\x82"};
  for (const std::string& bytes : not_utf8) {
    EXPECT_THAT(problems_of(kMinimal + "# " + bytes + "\n"),
                ElementsAre("tiny.yaml:8:3: this is not UTF-8 text; save the file as plain UTF-8"));
  }
  EXPECT_THAT(problems_of(kMinimal + "#" + std::string(1, '\0') + "\n"),
              ElementsAre("tiny.yaml:8:2: control character '\\x00'; a configuration is plain "
                          "text"));
  EXPECT_THAT(problems_of(kMinimal + "#\x1b[31m\n"),
              ElementsAre(HasSubstr("control character '\\x1b'")));
  const std::string good = "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80";
  EXPECT_EQ(parse(kMinimal + "run:\n  name: " + good + "\n").run.name, good);
  EXPECT_THAT(problems_of("\xef\xbb\xbf" + kMinimal), IsEmpty());
}

TEST(ConfigYaml, WindowsLineEndsAreFine) {
  std::string text;
  for (const char c : kMinimal) {
    text += c == '\n' ? "\r\n" : std::string(1, c);
  }
  EXPECT_EQ(parse(text).data.train[0].prefix, "data/tiny/train");
}

TEST(ConfigYaml, SizeIsLimited) {
  EXPECT_THAT(problems_of(kMinimal + "#" + std::string(size_t{1} << 20, 'x')),
              ElementsAre("tiny.yaml: the text is larger than 1 MiB; a configuration is far "
                          "smaller"));
}

TEST(ConfigYaml, SyntaxErrorsSayWhere) {
  EXPECT_THAT(problems_of("train:\n  steps: [1, 2\n"),
              ElementsAre(HasSubstr("this is not YAML: ")));
  EXPECT_THAT(problems_of("train:\n  steps: 3\n    x: 4\n"),
              ElementsAre(StartsWith("tiny.yaml:3:6: this is not YAML: ")));
}

TEST(ConfigYaml, QuotesLeftOpenAreRefused) {
  for (const char* value : {"'open", "\"open", "'it''s", "\"a\\\"", "'", "'''"}) {
    EXPECT_THAT(problems_of(kMinimal + "run:\n  name: " + value + "\n"),
                ElementsAre("tiny.yaml:9:9: the quote that opens here is never closed"))
        << value;
  }
  const std::string before = "# \xc3\xa9\xe2\x82\xac\r\nmodel:\r\n  dtype: 'float32'\r\n";
  EXPECT_THAT(problems_of(before + kMinimal + "run:\n  name: 'open\n"),
              ElementsAre("tiny.yaml:12:9: the quote that opens here is never closed"));
  EXPECT_THAT(problems_of(before + kMinimal + "run:\n  name: 'it is'\n"), IsEmpty());
  EXPECT_EQ(parse(kMinimal + "run:\n  name: 'it''s'\n").run.name, "it's");
  EXPECT_EQ(parse("\xef\xbb\xbf" + kMinimal + "run:\n  name: \"\\\"\xc3\xa9\"\n").run.name,
            "\"\xc3\xa9");
}

TEST(ConfigYaml, FloodsOfProblemsAreCut) {
  std::string text = kMinimal + "model:\n";
  for (int i = 0; i < 1000; ++i) {
    text += "  unheard_of_" + std::to_string(i) + ": 1\n";
  }
  const auto lines = problems_of(text);
  EXPECT_THAT(lines, SizeIs(41));
  EXPECT_EQ(lines.back(), "(and 960 more)");
}

TEST(YamlTree, KeepsOrderPlacesAndQuotes) {
  const YamlTree tree = parse_yaml("b: 'x'\na:\n  - 1\n  - \"2\"\n");
  ASSERT_THAT(tree.complaints, IsEmpty());
  ASSERT_THAT(tree.root.items, SizeIs(2));
  const YamlNode& b = tree.root.items[0];
  EXPECT_EQ(b.key, "b");
  EXPECT_TRUE(b.quoted);
  EXPECT_EQ(b.line, 1);
  EXPECT_EQ(b.column, 4);
  const YamlNode& a = tree.root.items[1];
  EXPECT_EQ(a.key_line, 2);
  ASSERT_THAT(a.items, SizeIs(2));
  EXPECT_EQ(a.items[1].text, "2");
  EXPECT_FALSE(a.items[0].quoted);
}

}  // namespace
}  // namespace enodia
