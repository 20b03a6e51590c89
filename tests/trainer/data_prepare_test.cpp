#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "common/file.h"
#include "common/json.h"
#include "tests/trainer/data_fixtures.h"
#include "trainer/data/prepare.h"

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Prepare : public testing::Test {
 protected:
  PrepareSummary prepare_bytes(const std::vector<std::filesystem::path>& inputs) {
    return prepare_dataset({.inputs = inputs, .output = prefix_, .tokenizer = "byte"});
  }

  /// What prepare says to one input file; empty when it is accepted.
  std::string complaint(const std::string& name, std::string_view content) {
    try {
      prepare_bytes({folder_.write(name, content)});
      return "";
    } catch (const FileError& error) {
      return error.what();
    }
  }

  std::string opening_complaint() {
    try {
      open_prepared(prefix_);
      return "";
    } catch (const FileError& error) {
      return error.what();
    }
  }

  void change_description(const std::string& key, const Json& value) {
    Json json = read_json(prefix_ + ".json");
    json[key] = value;
    folder_.write("out.json", json.dump());
  }

  std::string prose() const {
    std::string text;
    for (int i = 0; i < 400; ++i) {
      text += "The river runs past the garden number " + std::to_string(i * i) + ".\n";
    }
    return text;
  }

  const TemporaryFolder folder_;
  const std::string prefix_ = folder_.file("out");
};

TEST_F(Prepare, MakesADocumentOfEachLineAndOfEachFile) {
  const auto lines = folder_.write("a.jsonl",
                                   R"({"text": "ab", "id": 1})"
                                   "\n\n"
                                   R"({"text": ""})"
                                   "\n"
                                   R"({"text": "\u00e9\nc"})");
  const auto whole = folder_.write("b.txt", "x\ny\n");
  const auto empty = folder_.write("c.txt", "");
  const PrepareSummary summary = prepare_bytes({lines, whole, empty});
  EXPECT_EQ(summary.documents, 3);
  EXPECT_EQ(summary.empty_documents, 2);
  EXPECT_EQ(summary.text_bytes, 10);
  EXPECT_EQ(summary.tokens, 13);
  EXPECT_EQ(summary.tokenizer, "byte");

  const PreparedData prepared = open_prepared(prefix_);
  std::vector<int64_t> ids(13);
  prepared.dataset.read(0, ids);
  EXPECT_THAT(ids,
              ElementsAre('a', 'b', 256, 0xC3, 0xA9, '\n', 'c', 256, 'x', '\n', 'y', '\n', 256));
  EXPECT_THAT(prepared.dataset.document_offsets(), ElementsAre(0, 3, 8, 13));
  EXPECT_EQ(prepared.vocab_size, 257);
  EXPECT_EQ(prepared.eos_id, 256);
  EXPECT_EQ(prepared.text_bytes, 10);
  EXPECT_EQ(prepared.tokenizer->name(), "byte");
}

TEST_F(Prepare, TrainsATokenizerWhenNoneIsGivenAndReusesIt) {
  const auto input = folder_.write("a.txt", prose());
  const PrepareSummary summary =
      prepare_dataset({.inputs = {input}, .output = prefix_, .vocab_size = 320});
  EXPECT_EQ(summary.vocab_size, 320);
  EXPECT_EQ(summary.tokenizer, prefix_ + ".model");
  EXPECT_EQ(read_json(prefix_ + ".json")["tokenizer"], "out.model");

  const std::string second = folder_.file("sub/second");
  prepare_dataset({.inputs = {input}, .output = second, .tokenizer = prefix_ + ".model"});
  EXPECT_EQ(read_json(second + ".json")["tokenizer"], "../out.model");
  EXPECT_EQ(read_file(second + ".bin"), read_file(prefix_ + ".bin"));

  const PreparedData prepared = open_prepared(second);
  std::vector<int64_t> ids(static_cast<size_t>(prepared.dataset.num_tokens()));
  prepared.dataset.read(0, ids);
  EXPECT_EQ(ids.back(), prepared.eos_id);
  EXPECT_EQ(prepared.tokenizer->decode(ids), prose());
}

TEST_F(Prepare, NamesFileAndLineOfBadText) {
  const std::string good = "{\"text\": \"a\"}\n";
  EXPECT_THAT(complaint("a.jsonl", good + "{\"text\": "), HasSubstr("a.jsonl:2"));
  EXPECT_THAT(complaint("a.jsonl", good + "\n{\"txt\": \"a\"}"),
              HasSubstr("a.jsonl:3: the line is"));
  EXPECT_THAT(complaint("a.jsonl", "{\"text\": 5}"), HasSubstr("a.jsonl:1: the line is"));
  EXPECT_THAT(complaint("a.jsonl", "[1]"), HasSubstr("a.jsonl:1: the line is"));
  EXPECT_THAT(complaint("a.jsonl", good + "{\"text\": \"\xFF\"}"), HasSubstr("a.jsonl:2"));
  EXPECT_THAT(complaint("a.jsonl", good + "{\"text\": \"\\ud800\"}"), HasSubstr("a.jsonl:2"));
  EXPECT_THAT(complaint("a.txt", "fine\nbad \xC3\x28"),
              HasSubstr("a.txt:2: byte 9 of the file is not valid UTF-8"));
  EXPECT_THAT(complaint("a.txt", ""), HasSubstr("no text: 1 documents, all empty"));
  EXPECT_THROW(prepare_bytes({folder_.file("missing.txt")}), FileError);
}

TEST_F(Prepare, LeavesAnEarlierDataSetAloneWhenItFails) {
  prepare_bytes({folder_.write("a.txt", "hello")});
  EXPECT_NE(complaint("b.jsonl", "{\"text\": \"fine\"}\n{"), "");
  EXPECT_EQ(open_prepared(prefix_).text_bytes, 5);
  EXPECT_FALSE(std::filesystem::exists(prefix_ + ".bin.tmp"));
}

TEST_F(Prepare, RefusesArgumentsThatContradict) {
  const auto input = folder_.write("a.txt", "hello");
  EXPECT_THROW(prepare_dataset({.output = prefix_}), ConfigError);
  EXPECT_THROW(prepare_dataset({.inputs = {input}}), ConfigError);
  EXPECT_THROW(prepare_dataset({.inputs = {input}, .output = prefix_, .vocab_size = -1}),
               ConfigError);
  EXPECT_THROW(prepare_dataset(
                   {.inputs = {input}, .output = prefix_, .tokenizer = "byte", .vocab_size = 300}),
               ConfigError);
}

TEST_F(Prepare, IsCheckedAgainstItsDescriptionWhenOpened) {
  prepare_bytes({folder_.write("a.txt", "hello")});
  EXPECT_EQ(opening_complaint(), "");
  const std::string good = read_file(prefix_ + ".json");
  const std::vector<std::pair<std::string, Json>> changes{{"tokens", 7},
                                                          {"documents", 2},
                                                          {"vocab_size", 300},
                                                          {"vocab_size", "257"},
                                                          {"eos_id", 3},
                                                          {"eos_id", -1},
                                                          {"tokenizer_hash", "00ff"},
                                                          {"tokenizer", 1},
                                                          {"text_bytes", -1},
                                                          {"text_bytes", 1.5}};
  for (const auto& [key, value] : changes) {
    change_description(key, value);
    EXPECT_THAT(opening_complaint(), HasSubstr("out.json: ")) << key << " " << value;
    folder_.write("out.json", good);
  }
  for (const std::string text : {"", "[]", "3", "{}", "{\"tokens\": 6}"}) {
    folder_.write("out.json", text);
    EXPECT_THAT(opening_complaint(), HasSubstr("out.json")) << text;
  }
  std::filesystem::remove(prefix_ + ".json");
  EXPECT_THAT(opening_complaint(), HasSubstr("out.json"));
}

TEST_F(Prepare, NoticesAnotherTokenizerAndDoesWithoutAMissingOne) {
  const auto input = folder_.write("a.txt", prose());
  prepare_dataset({.inputs = {input}, .output = prefix_, .vocab_size = 320});
  prepare_dataset({.inputs = {input}, .output = folder_.file("other"), .vocab_size = 330});
  std::filesystem::copy_file(folder_.file("other.model"),
                             prefix_ + ".model",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(opening_complaint(), HasSubstr("out.model has the hash"));
  std::filesystem::remove(prefix_ + ".model");
  const PreparedData prepared = open_prepared(prefix_);
  EXPECT_EQ(prepared.tokenizer, nullptr);
  EXPECT_EQ(prepared.vocab_size, 320);
}

}  // namespace
}  // namespace enodia
