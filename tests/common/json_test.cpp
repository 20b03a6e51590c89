#include "common/json.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

std::string nested(int levels, const std::string& core) {
  return std::string(levels, '[') + core + std::string(levels, ']');
}

TEST(Json, KeepsTheOrderOfKeys) {
  EXPECT_EQ(parse_json(R"({"b": 1, "a": [2, null]})", "x").dump(), R"({"b":1,"a":[2,null]})");
}

TEST(Json, RefusesDuplicateKeysOfOneObjectOnly) {
  EXPECT_NO_THROW(parse_json(R"({"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]})", "x"));
  EXPECT_THAT([] { parse_json(R"({"c": {"a": 1, "b": {"a": 0}, "a": 2}})", "file.json"); },
              ThrowsMessage<FileError>(AllOf(StartsWith("file.json"), HasSubstr("'a'"))));
}

TEST(Json, NestsSixtyFourLevelsAndNoMore) {
  EXPECT_NO_THROW(parse_json(nested(64, ""), "x"));
  EXPECT_NO_THROW(parse_json(nested(64, "1"), "x"));
  EXPECT_THAT([] { parse_json(nested(65, ""), "x"); },
              ThrowsMessage<FileError>(HasSubstr("deeper than 64")));
  EXPECT_THROW(parse_json(std::string(1'000'000, '['), "x"), FileError);
  EXPECT_THROW(parse_json(nested(64, R"({"a": 1})"), "x"), FileError);
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           "{",
                           "[1,]",
                           "{} {}",
                           "[NaN]",
                           "{'a': 1}",
                           "[1e999]",
                           "\"\xFF\"",
                           "nul",
                           "// comment\n1"}) {
    EXPECT_THAT([&] { parse_json(text, "file.json"); },
                ThrowsMessage<FileError>(StartsWith("file.json")))
        << text;
  }
}

TEST(Json, RefusesZeroBytesAndWhatFollowsThem) {
  using namespace std::string_view_literals;
  for (const std::string_view text : {"{}\0"sv, "{}\0 hidden"sv, "\0{}"sv, "[1,\0]"sv}) {
    EXPECT_THAT([&] { parse_json(text, "file.json"); },
                ThrowsMessage<FileError>(HasSubstr("is zero")));
  }
}

TEST(Json, RepeatsNoMoreThanASentenceOfTheText) {
  const std::string text(100'000, 'x');
  for (const std::string& json : {"[\"" + text, "{\"" + text + "\":1,\"" + text + "\":2}"}) {
    try {
      parse_json(json, "file.json");
      FAIL();
    } catch (const FileError& error) {
      EXPECT_LT(std::string(error.what()).size(), 500U);
    }
  }
}

TEST(Json, MissingFilesAreFileErrors) {
  EXPECT_THROW(read_json("/nonexistent/file.json"), FileError);
}

}  // namespace
}  // namespace enodia
