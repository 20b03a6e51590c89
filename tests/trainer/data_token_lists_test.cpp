#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "common/random.h"
#include "trainer/data/token_lists.h"

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string error_of(std::string_view text) {
  try {
    parse_token_lists(text, 10, "ids");
    return "";
  } catch (const FileError& error) {
    return error.what();
  }
}

TEST(TokenLists, AreOneALine) {
  EXPECT_THAT(parse_token_lists("[1, 2]\n[ 9,0 ]\r\n[3,4]", 10, "ids"),
              ElementsAre(ElementsAre(1, 2), ElementsAre(9, 0), ElementsAre(3, 4)));
  EXPECT_THAT(parse_token_lists("[7]\n", 10, "ids"), ElementsAre(ElementsAre(7)));
}

TEST(TokenLists, AreRefusedWithTheLine) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "ids is empty"},
      {"\n", "ids:1 is not valid JSON"},
      {"[1]\n\n[2]\n", "ids:2 is not valid JSON"},
      {"[1]\n[2\n]\n", "ids:2 is not valid JSON"},
      {"[1] [2]", "ids:1 is not valid JSON"},
      {"1 2 3", "ids:1 is not valid JSON"},
      {"[1]\n{\"ids\":[1]}", "ids:2 must be a list of token ids"},
      {"[]", "ids:1 must be a list of token ids"},
      {"5", "ids:1 must be a list of token ids"},
      {"[1]\n[10]",
       "ids:2 holds '10' at position 0, but the model's token ids are integers from 0 "
       "to 9"},
      {"[0,-1]", "ids:1 holds '-1' at position 1"},
      {"[1.0]", "holds '1.0'"},
      {"[18446744073709551615]", "holds '18446744073709551615'"},
      {"[18446744073709551616]", "holds '1.844"},
      {"[\"1\"]", "holds '\"1\"'"},
      {"[[1]]", "holds '[1]'"},
      {"[null]", "holds 'null'"},
      {"[1,2]\n[3]", "ids:2 holds 1 ids and line 1 holds 2"},
  };
  for (const auto& [text, complaint] : cases) {
    EXPECT_THAT(error_of(text), AllOf(StartsWith("ids"), HasSubstr(complaint))) << text;
  }
}

TEST(TokenLists, AreRefusedOrSoundHoweverDamaged) {
  const std::string good = "[1, 2, 3]\n[4, 5, 6]\n[7, 8, 9]\n";
  const RandomKey key(8);
  int refused = 0;
  for (uint64_t round = 0; round < 5000; ++round) {
    const auto draw = [&](uint64_t which, size_t limit) {
      return static_cast<size_t>(random_uniform(key, round * 4 + which) *
                                 static_cast<double>(limit));
    };
    std::string text = good;
    const char byte = draw(0, 2) == 0 ? static_cast<char>(draw(1, 256)) : "[],\n -0.e"[draw(1, 9)];
    if (draw(2, 2) == 0) {
      text[draw(3, text.size())] = byte;
    } else {
      text.insert(draw(3, text.size()), 1, byte);
    }
    try {
      const auto sequences = parse_token_lists(text, 10, "ids");
      for (const auto& ids : sequences) {
        ASSERT_EQ(ids.size(), sequences.front().size());
        ASSERT_TRUE(
            std::all_of(ids.begin(), ids.end(), [](auto id) { return id >= 0 && id < 10; }));
      }
    } catch (const FileError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 5000);
}

}  // namespace
}  // namespace enodia
