#include <algorithm>
#include <array>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "common/file.h"
#include "tests/trainer/data_fixtures.h"
#include "trainer/data/documents.h"
#include "trainer/data/tokenizer.h"

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace fs = std::filesystem;

/// Prose of some hundred different words, in lines, with a few double spaces and accents.
std::string prose() {
  const std::array words{"river",
                         "stone",
                         "garden",
                         "evening",
                         "walked",
                         "quietly",
                         "beyond",
                         "mountain",
                         "caf\xC3\xA9",
                         "letters",
                         "morning",
                         "answered",
                         "window"};
  const std::array endings{"", "s", "ed", "ing", "ly", "er", "ness"};
  std::string text;
  for (size_t i = 0; i < 6000; ++i) {
    text += words[(i * i + 3 * i) % words.size()];
    text += endings[(i * 7 + i / 11) % endings.size()];
    text += i % 17 == 16 ? ".\n" : i % 29 == 0 ? "  " : " ";
  }
  return text;
}

std::string train(const TemporaryFolder& folder, const std::string& text, int64_t vocab_size) {
  const std::array files{fs::path(folder.write("train.txt", text))};
  return train_sentencepiece(files, vocab_size);
}

/// One model for the whole suite: training takes a moment.
class SentencePieceTokenizer : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const TemporaryFolder folder;
    blob_ = new std::string(train(folder, prose(), 500));
  }
  static void TearDownTestSuite() { delete blob_; }

  static std::string* blob_;
  const std::unique_ptr<Tokenizer> tokenizer_ = tokenizer_from_blob(*blob_, "the test model");
};
std::string* SentencePieceTokenizer::blob_ = nullptr;

std::vector<std::string> difficult_texts() {
  std::string every_byte_below_128(128, '\0');
  std::iota(every_byte_below_128.begin(), every_byte_below_128.end(), '\0');
  return {"",
          " ",
          "\n",
          "  two  spaces   and more    ",
          "lines\n\n\nand\ttabs\r\n",
          "\xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80 e\xCC\x81 \xEF\xAC\x81",
          "</s><unk><s><0x41> are ordinary text",
          "\xE2\x96\x81 \xE2\x96\x81\xE2\x96\x81x \xE2\x96\x85 \xE2\x81\x87",
          every_byte_below_128,
          prose() + prose() + prose()};
}

TEST_F(SentencePieceTokenizer, GivesTextBackAsItWas) {
  for (const std::string& text : difficult_texts()) {
    const auto ids = tokenizer_->encode(text);
    EXPECT_EQ(tokenizer_->decode(ids), text);
    for (const int64_t id : ids) {
      ASSERT_TRUE(id >= 0 && id < tokenizer_->vocab_size() && id != tokenizer_->eos_id()) << text;
    }
  }
  EXPECT_THAT(tokenizer_->encode(""), IsEmpty());
}

TEST_F(SentencePieceTokenizer, CompressesTheTextItWasTrainedOn) {
  const std::string text = prose();
  EXPECT_LT(tokenizer_->encode(text).size() * 3, text.size());
  EXPECT_EQ(tokenizer_->vocab_size(), 500);
}

TEST_F(SentencePieceTokenizer, EncodesALongTextAsTheSumOfItsWords) {
  std::string text;
  while (text.size() < 200000) {
    text += prose();
  }
  std::vector<int64_t> word_by_word;
  size_t start = 0;
  while (start < text.size()) {
    size_t end = start + 1;
    while (end < text.size() && !(text[end] == ' ' && text[end - 1] != ' ')) {
      ++end;
    }
    const auto ids = tokenizer_->encode(text.substr(start, end - start));
    word_by_word.insert(word_by_word.end(), ids.begin(), ids.end());
    start = end;
  }
  EXPECT_EQ(tokenizer_->encode(text), word_by_word);
}

TEST_F(SentencePieceTokenizer, EncodesALongTextWithoutSpacesAsTheSumOfItsLines) {
  const std::string line = "\nmorning,evening,beyond";
  const auto ids = tokenizer_->encode(line);
  std::string text;
  std::vector<int64_t> line_by_line;
  while (text.size() < 200000) {
    text += line;
    line_by_line.insert(line_by_line.end(), ids.begin(), ids.end());
  }
  EXPECT_EQ(tokenizer_->encode(text), line_by_line);
}

TEST_F(SentencePieceTokenizer, HandsOverALongTextInParts) {
  std::string text;
  while (text.size() < 300000) {
    text += prose();
  }
  int parts = 0;
  tokenizer_->encode_to(text, [&parts](std::span<const int64_t>) { ++parts; });
  EXPECT_GE(parts, 4);
}

TEST_F(SentencePieceTokenizer, LeavesOutEosAndRefusesUnknownIds) {
  auto ids = tokenizer_->encode("evening");
  ids.push_back(tokenizer_->eos_id());
  EXPECT_EQ(tokenizer_->decode(ids), "evening");
  EXPECT_THROW(tokenizer_->decode(std::array<int64_t, 1>{500}), UsageError);
  EXPECT_THROW(tokenizer_->decode(std::array<int64_t, 1>{-1}), UsageError);
}

TEST_F(SentencePieceTokenizer, IsTheSameFromFileAndBlob) {
  const TemporaryFolder folder;
  const auto loaded = load_tokenizer(folder.write("x.model", *blob_));
  EXPECT_EQ(loaded->hash(), tokenizer_->hash());
  EXPECT_EQ(loaded->encode(prose()), tokenizer_->encode(prose()));
  EXPECT_EQ(loaded->name(), "sentencepiece");
}

TEST_F(SentencePieceTokenizer, RefusesDamagedModels) {
  const auto refused = [](const std::string& blob) {
    try {
      tokenizer_from_blob(blob, "x.model");
      return std::string();
    } catch (const FileError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_THAT(refused(""), HasSubstr("x.model is no SentencePiece model"));
  EXPECT_THAT(refused("some text"), HasSubstr("x.model is no SentencePiece model"));
  EXPECT_THAT(refused(blob_->substr(0, blob_->size() / 2)), HasSubstr("x.model"));
  EXPECT_THROW(load_tokenizer("/no/such/file.model"), FileError);
}

TEST(SentencePieceTraining, GivesTheSameModelTwice) {
  const TemporaryFolder folder;
  const std::string model = train(folder, prose(), 400);
  EXPECT_EQ(train(folder, prose(), 400), model);
  EXPECT_NE(train(folder, prose() + " another word another word", 400), model);
}

TEST(SentencePieceTraining, SaysWhichVocabularyWouldDo) {
  const TemporaryFolder folder;
  const auto number_after = [&](int64_t vocab_size, const std::string& words) -> int64_t {
    try {
      train(folder, prose(), vocab_size);
    } catch (const ConfigError& error) {
      const std::string message = error.what();
      EXPECT_THAT(message, HasSubstr(words));
      return std::stoll(message.substr(message.find(words) + words.size()));
    }
    ADD_FAILURE() << vocab_size << " was accepted";
    return 0;
  };
  const int64_t most = number_after(100000, "at most ");
  EXPECT_EQ(tokenizer_from_blob(train(folder, prose(), most), "")->vocab_size(), most);
  EXPECT_EQ(number_after(most + 1, "at most "), most);
  const int64_t least = number_after(100, "at least ");
  EXPECT_EQ(tokenizer_from_blob(train(folder, prose(), least), "")->vocab_size(), least);
  EXPECT_EQ(number_after(least - 1, "at least "), least);
}

TEST(SentencePieceTraining, UsesALineThatIsVeryLong) {
  const TemporaryFolder folder;
  std::string line = prose() + prose();
  std::replace(line.begin(), line.end(), '\n', ' ');
  ASSERT_GT(line.size(), 50000U);
  const auto tokenizer = tokenizer_from_blob(train(folder, line, 500), "");
  EXPECT_LT(tokenizer->encode(line).size() * 3, line.size());
}

TEST(SentencePieceTraining, UsesLinesWithReservedCharacters) {
  const TemporaryFolder folder;
  for (const std::string& reserved : {std::string("\t"), std::string("\xE2\x96\x85")}) {
    std::string text;
    for (const char c : prose()) {
      text += c == '\n' ? " x" + reserved + "y\n" : std::string(1, c);
    }
    const auto tokenizer = tokenizer_from_blob(train(folder, text, 500), "");
    EXPECT_LT(tokenizer->encode(prose()).size() * 3, prose().size());
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
}

TEST(SentencePieceTraining, CutsTextWithoutSpacesBetweenCharacters) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 8000; ++i) {
    text += i % 3 == 0 ? "\xE6\x97\xA5" : i % 3 == 1 ? "\xE6\x9C\xAC" : "\xE8\xAA\x9E";
  }
  const auto tokenizer = tokenizer_from_blob(train(folder, text, 264), "");
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_LT(tokenizer->encode(text).size(), 8000U);
  // A cut inside a character would have taught the replacement character as a piece.
  EXPECT_EQ(tokenizer->encode("\xEF\xBF\xBD").size(), 3U);
}

TEST(SentencePieceTraining, NeedsText) {
  const TemporaryFolder folder;
  EXPECT_THROW(train(folder, "", 300), FileError);
  EXPECT_THROW(train(folder, "\n\n\t", 300), FileError);
}

TEST(ByteTokenizer, GivesAnyBytesBack) {
  const auto tokenizer = load_tokenizer("byte");
  for (std::string text : difficult_texts()) {
    text += "\xFF\x80";
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
  EXPECT_THAT(tokenizer->encode("a\xFF"), ElementsAre(97, 255));
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->eos_id(), 256);
  EXPECT_EQ(tokenizer->decode(std::array<int64_t, 3>{104, 105, 256}), "hi");
  EXPECT_THROW(tokenizer->decode(std::array<int64_t, 1>{257}), UsageError);
  EXPECT_EQ(tokenizer_from_blob(tokenizer->blob(), "")->hash(), tokenizer->hash());
}

TEST(Utf8, IsJudgedAsTheStandardSays) {
  const auto valid = [](std::string_view text) { return find_invalid_utf8(text) == text.size(); };
  EXPECT_TRUE(valid(""));
  EXPECT_TRUE(
      valid("a\xC2\x80\xE0\xA0\x80\xED\x9F\xBF\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"));
  for (const std::string_view bad : {"\x80",
                                     "\xC1\xBF",
                                     "\xC2",
                                     "\xC2 ",
                                     "\xE0\x9F\xBF",
                                     "\xED\xA0\x80",
                                     "\xE2\x82",
                                     "\xF0\x8F\xBF\xBF",
                                     "\xF4\x90\x80\x80",
                                     "\xF5\x80\x80\x80",
                                     "\xFF"}) {
    EXPECT_EQ(find_invalid_utf8(std::string("ok") + std::string(bad)), 2U);
  }
}

}  // namespace
}  // namespace enodia
