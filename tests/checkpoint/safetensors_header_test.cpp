#include "checkpoint/safetensors/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/native/box.h"
#include "common/random.h"
#include "tests/checkpoint/safetensors_files.h"
#include "tests/checkpoint/states.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::string error_of(const std::string& file) {
  return file_error_of([&] { parse_safetensors(file); });
}

/// The error of a file with this header and eight bytes of data.
std::string error_of_header(const std::string& header) {
  return error_of(safetensors_file(header, "12345678"));
}

/// The error of a file of eight bytes whose only tensor has this entry.
std::string error_of_tensor(const std::string& entry) {
  return error_of_header(R"({"a":)" + entry + "}");
}

TEST(SafetensorsHeader, GivesTensorsByNameWithTheirPlaceInTheFile) {
  const std::string header = R"({"__metadata__":{"format":"pt","":""},)" +
                             safetensors_entry("b", "F32", "[2,1]", 0, 8) + "," +
                             safetensors_entry("a", "BF16", "[]", 8, 10) + "}   ";
  const SafetensorsHeader parsed = parse_safetensors(safetensors_file(header, "0123456789"));
  EXPECT_EQ(parsed.metadata, (std::map<std::string, std::string>{{"format", "pt"}, {"", ""}}));
  ASSERT_THAT(parsed.entries, SizeIs(2));
  EXPECT_EQ(parsed.entries[0].name, "a");
  EXPECT_EQ(parsed.entries[0].type, "BF16");
  EXPECT_THAT(parsed.entries[0].shape, SizeIs(0));
  const auto data = static_cast<int64_t>(8 + header.size());
  EXPECT_EQ(parsed.entries[0].begin, data + 8);
  EXPECT_EQ(parsed.entries[0].end, data + 10);
  EXPECT_THAT(parsed.entries[1].shape, ElementsAre(2, 1));
  EXPECT_EQ(parsed.entries[1].begin, data);
}

TEST(SafetensorsHeader, OfNoTensorsIsLegal) {
  EXPECT_THAT(parse_safetensors(safetensors_file("{}", "")).entries, SizeIs(0));
}

TEST(SafetensorsHeader, LetsEmptyTensorsShareAnOffset) {
  const std::string header = "{" + safetensors_entry("a", "F32", "[2]", 0, 8) + "," +
                             safetensors_entry("b", "F32", "[0]", 0, 0) + "," +
                             safetensors_entry("c", "F32", "[3,0]", 0, 0) + "," +
                             safetensors_entry("d", "F32", "[0,4611686018427387904]", 8, 8) + "}";
  EXPECT_EQ(error_of_header(header), "");
}

TEST(SafetensorsHeader, RefusesWhatIsNoSafetensorsFile) {
  EXPECT_THAT(error_of(""), HasSubstr("too short"));
  EXPECT_THAT(error_of("1234567"), HasSubstr("too short"));
  EXPECT_THAT(error_of("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
              HasSubstr("git-lfs pointer"));
  EXPECT_THAT(error_of("<!DOCTYPE html><html>404</html>"), HasSubstr("100 MB are the limit"));
  EXPECT_THAT(error_of(std::string(8, '\xFF') + "{}"), HasSubstr("18446744073709551615"));
  EXPECT_THAT(error_of(std::string("\3\0\0\0\0\0\0\0{}", 10)), HasSubstr("ends within its header"));
  EXPECT_THAT(error_of(safetensors_file("", "")), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(error_of(safetensors_file("[]", "")), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(error_of(safetensors_file("{", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(safetensors_file("{} {}", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(safetensors_file("{\"\xFF\":1}", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(safetensors_file("{}" + std::string(3, '\0'), "")),
              HasSubstr("not valid JSON"));
  const std::string unclosed = "{\"" + std::string(1'000'000, 'x');
  EXPECT_LT(error_of(safetensors_file(unclosed, "")).size(), 1000U);  // a sentence nevertheless
  const std::string nested = R"({"a":)" + std::string(1'000'000, '[');
  EXPECT_THAT(error_of(safetensors_file(nested, "")), HasSubstr("nested deeper"));
}

TEST(SafetensorsHeader, MayHaveAHundredMegabytesAndNoMore) {
  const std::string begin = R"({"__metadata__":{"a":")";
  const std::string end = R"("}})";
  const std::string filling(100'000'000 - begin.size() - end.size(), 'x');
  EXPECT_EQ(error_of(safetensors_file(begin + filling + end, "")), "");
  EXPECT_THAT(error_of(safetensors_file(begin + filling + "x" + end, "")),
              HasSubstr("100000001 bytes"));
}

TEST(SafetensorsHeader, RefusesAbsurdTensors) {
  const auto entry = [](const std::string& type,
                        const std::string& shape,
                        const std::string& offsets) {
    return R"({"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  EXPECT_EQ(error_of_tensor(entry("F32", "[2]", "[0,8]")), "");
  EXPECT_EQ(error_of_tensor(entry("F32", "[1,1,1,1,1,1,1,2]", "[0,8]")), "");
  const std::string too_large = "must be an integer from 0 to 2^62";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"5", "must be an object"},
      {"{}", "has no 'dtype'"},
      {R"({"dtype":"F32","shape":[2]})", "has no 'data_offsets'"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]})", "'strides'"},
      {R"({"dtype":4,"shape":[2],"data_offsets":[0,8]})", "must be a text"},
      {entry("F4", "[16]", "[0,8]"), "unknown type 'F4'"},
      {entry("", "[2]", "[0,8]"), "unknown type ''"},
      {entry("F32", "2", "[0,8]"), "must be an array"},
      {entry("F32", "[-2]", "[0,8]"), too_large},
      {entry("F32", "[2.0]", "[0,8]"), too_large},
      {entry("F32", "[2e0]", "[0,8]"), too_large},
      {entry("F32", "[true]", "[0,8]"), too_large},
      {entry("F32", "[\"2\"]", "[0,8]"), too_large},
      {entry("F32", "[18446744073709551618]", "[0,8]"), too_large},
      {entry("F32", "[9223372036854775810]", "[0,8]"), too_large},
      {entry("F32", "[4611686018427387904,4]", "[0,8]"), "do not make the 8 bytes"},
      {entry("F32", "[4294967296,4294967297]", "[0,8]"), "do not make the 8 bytes"},
      {entry("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "9 dimensions"},
      {entry("F32", "[3]", "[0,8]"), "shape [3] and type F32, which do not make the 8 bytes"},
      {entry("F32", "[]", "[0,8]"), "do not make"},
      {entry("F32", "[0]", "[0,8]"), "do not make"},
      {entry("F32", "[2]", "[8,0]"), "begin and end"},
      {entry("F32", "[2]", "[0]"), "begin and end"},
      {entry("F32", "[2]", "[0,8,8]"), "begin and end"},
      {entry("F32", "[2]", "{}"), "must be an array"},
      {entry("F32", "[2]", "[0,-8]"), too_large},
      {entry("F32", "[2]", "[0,8.5]"), too_large},
      {entry("F32", "[3]", "[0,12]"), "ends at byte 12 of the data, of which there are 8"},
      {entry("F32", "[2]", "[4611686018427387896,4611686018427387904]"), "cut short"},
  };
  for (const auto& [tensor, complaint] : cases) {
    const std::string error = error_of_tensor(tensor);
    EXPECT_THAT(error, StartsWith("x.safetensors: tensor 'a'")) << tensor;
    EXPECT_THAT(error, HasSubstr(complaint)) << tensor;
  }
}

TEST(SafetensorsHeader, RefusesHolesOverlapsAndLeftOvers) {
  const auto error = [](const std::string& first, const std::string& second) {
    return error_of_header("{" + first + "," + second + "}");
  };
  const auto tensor = [](const std::string& name, int64_t begin, int64_t end) {
    return safetensors_entry(name, "U8", "[" + std::to_string(end - begin) + "]", begin, end);
  };
  EXPECT_EQ(error(tensor("b", 4, 8), tensor("a", 0, 4)), "");
  EXPECT_THAT(error(tensor("a", 0, 3), tensor("b", 4, 8)),
              HasSubstr("tensor 'b' begins at byte 4 of the data, but the tensors before it end at "
                        "byte 3"));
  EXPECT_THAT(error(tensor("a", 1, 4), tensor("b", 4, 8)), HasSubstr("'a' begins at byte 1"));
  EXPECT_THAT(error(tensor("a", 0, 5), tensor("b", 4, 8)), HasSubstr("overlaps"));
  EXPECT_THAT(error(tensor("a", 0, 8), tensor("b", 0, 8)), HasSubstr("overlaps"));
  EXPECT_THAT(error(tensor("a", 0, 8), tensor("b", 4, 4)), HasSubstr("overlaps"));
  EXPECT_THAT(error(tensor("a", 0, 4), tensor("b", 4, 7)), HasSubstr("1 bytes after its last"));
  EXPECT_THAT(error_of_header("{}"), HasSubstr("8 bytes after its last"));
}

TEST(SafetensorsHeader, RefusesNamesAndMetadataThatAreNone) {
  const std::string entry = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_THAT(error_of_header(R"({"a":)" + entry + R"(,"a":)" + entry + "}"),
              HasSubstr("the key 'a' occurs twice"));
  for (const char* name : {R"(a\n)", R"(\u0000)", R"(a\u007f)", R"(\u001b[2J)"}) {
    const std::string error = error_of_header("{\"" + std::string(name) + "\":" + entry + "}");
    EXPECT_THAT(error, HasSubstr("control characters"));
    EXPECT_THAT(error, ::testing::Not(::testing::ContainsRegex("[\n\x1b\x7f]")));
  }
  EXPECT_EQ(error_of_header("{\"gr\xC3\xBC\xC3\x9F\":" + entry + "}"), "");
  for (const char* metadata : {"5", "[]", "null", R"({"a":1})", R"({"a":{}})", R"({"a":null})"}) {
    EXPECT_THAT(
        error_of_header(R"({"__metadata__":)" + std::string(metadata) + R"(,"a":)" + entry + "}"),
        HasSubstr("x.safetensors: __metadata__"))
        << metadata;
  }
}

TEST(SafetensorsHeader, OfManyTensorsIsReadInReasonableTime) {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i) {  // seconds if anything were quadratic
    header +=
        (i == 0 ? "" : ",") + safetensors_entry("t" + std::to_string(i), "U8", "[1]", i, i + 1);
  }
  const std::string file = safetensors_file(header + "}", std::string(100'000, '\0'));
  EXPECT_THAT(parse_safetensors(file).entries, SizeIs(100'000));
}

/// A file with what a header can have, and its mutations.
class MutatedSafetensors : public ::testing::Test {
 protected:
  const std::string header_ = R"({"__metadata__":{"format":"pt"},)" +
                              safetensors_entry("b", "F32", "[2,3]", 0, 24) + "," +
                              safetensors_entry("a", "BF16", "[]", 24, 26) + "," +
                              safetensors_entry("n", "F64", "[0,3]", 26, 26) + "," +
                              safetensors_entry("c", "F16", "[1,5]", 26, 36) + "}  ";
  const std::string file_ = safetensors_file(header_, std::string(36, '\1'));
  const RandomKey key_{11};
  uint64_t draws_ = 0;
  int refused_ = 0, accepted_ = 0;

  size_t draw(size_t limit) {
    return static_cast<size_t>(random_uniform(key_, draws_++) * static_cast<double>(limit));
  }

  /// A byte as it stands in headers, or any.
  char draw_byte() {
    const std::string likely = R"({}[]",:0123456789-.eFBU6\ )";
    return draw(3) == 0 ? static_cast<char>(draw(256)) : likely[draw(likely.size())];
  }

  /// Refused with a sentence that names the file, or accepted and sound.
  void expect_sound(const std::string& file) {
    SafetensorsHeader parsed;
    const std::string error = file_error_of([&] { parsed = parse_safetensors(file); });
    if (!error.empty()) {
      ++refused_;
      ASSERT_THAT(error, StartsWith("x.safetensors"));
      return;
    }
    ++accepted_;
    std::vector<int> owners(file.size(), 0);
    for (const SafetensorsEntry& entry : parsed.entries) {
      const size_t element_bytes = safetensors_type_bytes(entry.type);
      ASSERT_GE(entry.begin, 8);
      ASSERT_LE(entry.end, std::ssize(file));
      ASSERT_EQ(
          element_count(entry.shape, element_bytes).value() * static_cast<int64_t>(element_bytes),
          entry.end - entry.begin);
      for (int64_t i = entry.begin; i < entry.end; ++i) {
        ++owners[static_cast<size_t>(i)];
      }
    }
    const auto first = std::find(owners.begin(), owners.end(), 1);
    ASSERT_TRUE(std::all_of(first, owners.end(), [](int count) { return count == 1; }));
    ASSERT_TRUE(std::all_of(owners.begin(), first, [](int count) { return count == 0; }));
  }
};

TEST_F(MutatedSafetensors, AreRefusedOrSound) {
  expect_sound(file_);
  ASSERT_EQ(accepted_, 1);
  const size_t header_end = 8 + header_.size();
  for (size_t length = 0; length < file_.size(); ++length) {
    expect_sound(file_.substr(0, length));
  }
  ASSERT_EQ(accepted_, 1);  // nothing shorter will do
  for (size_t bit = 0; bit < header_end * 8; ++bit) {
    std::string flipped = file_;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    expect_sound(flipped);
  }
  for (int round = 0; round < 20'000 && !HasFatalFailure(); ++round) {
    std::string mutated = file_;
    for (size_t changes = 1 + draw(3); changes > 0; --changes) {
      const size_t place = draw(std::min(header_end, mutated.size()));
      switch (draw(4)) {
        case 0:
          mutated[place] = draw_byte();
          break;
        case 1:
          mutated.insert(place, draw(4) + 1, draw_byte());
          break;
        case 2:
          mutated.erase(place, draw(4) + 1);
          break;
        default:  // a piece of the file once more
          mutated.insert(place, mutated.substr(draw(mutated.size()), draw(40)));
      }
    }
    if (draw(2) == 0 && mutated.size() >= 8) {  // keep the length honest, to get past it
      const size_t length = mutated.size() - std::min<size_t>(mutated.size(), 8 + 36);
      mutated = safetensors_file(mutated.substr(8, length), mutated.substr(8 + length));
    }
    expect_sound(mutated);
  }
  EXPECT_GT(accepted_, 100);  // renamed tensors and the like
  EXPECT_GT(refused_, 10'000);
}

}  // namespace
}  // namespace enodia
