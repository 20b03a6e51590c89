#include "checkpoint/safetensors/safetensors_folder.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors/safetensors_elements.h"
#include "checkpoint/safetensors/safetensors_header.h"
#include "common/error.h"
#include "common/random.h"
#include "tests/checkpoint/safetensors_files.h"
#include "tests/checkpoint/states.h"

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
namespace fs = std::filesystem;

template <typename T>
std::string bytes_of(const std::vector<T>& elements) {
  return {reinterpret_cast<const char*>(elements.data()), elements.size() * sizeof(T)};
}

/// A file of one tensor of bytes.
std::string file_with(const std::string& tensor) {
  return safetensors_file("{" + safetensors_entry(tensor, "F32", "[1]", 0, 4) + "}", "1234");
}

class SafetensorsFolderTest : public ::testing::Test {
 protected:
  void put(const std::string& name, const std::string& content) const {
    put_content(scratch_.path() / name, content);
  }
  void put_index(const std::string& weight_map) const {
    put("model.safetensors.index.json",
        R"({"metadata":{"total_size":8},"weight_map":)" + weight_map + "}");
  }
  SafetensorsFolder open() const { return SafetensorsFolder::open(scratch_.path()); }
  std::string error() const {
    return file_error_of([&] { open(); });
  }
  const std::string folder() const { return scratch_.path().string(); }

  const ScratchFolder scratch_;
};

template <typename T>
std::vector<T> read_all(const SafetensorsFolder& folder, const std::string& name) {
  const SafetensorsTensor* tensor = folder.find(name);
  const Box whole{std::vector<int64_t>(tensor->shape.size(), 0), tensor->shape};
  std::vector<T> values(static_cast<size_t>(*element_count(tensor->shape, sizeof(T))));
  folder.read(*tensor, whole, dtype_of<T>(), values.data());
  return values;
}

/// What IEEE 754 says of a binary16 number.
double half_value(uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  if (exponent == 31) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  }
  return sign *
         (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

TEST(SafetensorsElements, OfEveryHalfHaveItsValue) {
  for (int bits = 0; bits < 65536; ++bits) {
    const float value = float_from_float16(static_cast<uint16_t>(bits));
    const double expected = half_value(static_cast<uint16_t>(bits));
    ASSERT_TRUE(value == expected || (std::isnan(value) && std::isnan(expected))) << bits;
    ASSERT_EQ(std::signbit(value), bits >= 32768);
  }
}

TEST_F(SafetensorsFolderTest, ConvertsAllFloatTypesWhereverTheyLie) {
  const std::vector<double> doubles{1.0 / 3, -0.0, 1e300, 5e-324};
  const std::vector<float> floats{1.0F / 3, -2.5F, 3e38F};
  const std::vector<uint16_t> brains{0x3F80, 0xC049, 0x0001};  // 1, -3.140625, 2^-133
  const std::vector<uint16_t> halves{0x3C00, 0xC248, 0x0001};  // 1, -3.140625, 2^-24
  for (int padding = 0; padding < 8; ++padding) {              // the data begins at any address
    put("model.safetensors",
        safetensors_file("{" + safetensors_entry("h", "F16", "[3]", 0, 6) + "," +
                             safetensors_entry("d", "F64", "[4]", 6, 38) + "," +
                             safetensors_entry("f", "F32", "[3]", 38, 50) + "," +
                             safetensors_entry("b", "BF16", "[3,1]", 50, 56) + "," +
                             safetensors_entry("s", "BF16", "[]", 56, 58) + "," +
                             safetensors_entry("e", "F32", "[0,7]", 58, 58) + "}" +
                             std::string(padding, ' '),
                         bytes_of(halves) + bytes_of(doubles) + bytes_of(floats) +
                             bytes_of(brains) + bytes_of<uint16_t>({0x4000})));
    const SafetensorsFolder opened = open();
    EXPECT_EQ(read_all<double>(opened, "d"), doubles);
    EXPECT_EQ(read_all<float>(opened, "d"),
              (std::vector<float>{1.0F / 3, -0.0F, std::numeric_limits<float>::infinity(), 0.0F}));
    EXPECT_EQ(read_all<float>(opened, "f"), floats);
    EXPECT_EQ(read_all<double>(opened, "f"), (std::vector<double>{1.0F / 3, -2.5, 3e38F}));
    EXPECT_EQ(read_all<double>(opened, "b"),
              (std::vector<double>{1.0, -3.140625, std::ldexp(1.0, -133)}));
    EXPECT_EQ(read_all<float>(opened, "h"),
              (std::vector<float>{1.0F, -3.140625F, std::ldexp(1.0F, -24)}));
    EXPECT_EQ(read_all<float>(opened, "s"), std::vector<float>{2.0F});
    EXPECT_EQ(read_all<float>(opened, "e"), std::vector<float>{});
  }
}

TEST_F(SafetensorsFolderTest, ReadsBoxes) {
  const std::vector<int64_t> shape{7, 5, 6};
  std::vector<float> values(210);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i);
  }
  put("model.safetensors",
      safetensors_file("{" + safetensors_entry("t", "F32", "[7,5,6]", 0, 840) + "}",
                       bytes_of(values)));
  const SafetensorsFolder opened = open();
  const RandomKey key(3);
  for (uint64_t round = 0; round < 500; ++round) {
    Box box{{0, 0, 0}, {0, 0, 0}};
    for (size_t dim = 0; dim < 3; ++dim) {
      const double begin = random_uniform(key, round * 6 + dim);
      const double share = random_uniform(key, round * 6 + 3 + dim);
      box.offset[dim] = static_cast<int64_t>(begin * static_cast<double>(shape[dim] + 1));
      box.size[dim] =
          static_cast<int64_t>(share * static_cast<double>(shape[dim] - box.offset[dim] + 1));
    }
    std::vector<double> expected;
    for (int64_t i = box.offset[0]; i < box.offset[0] + box.size[0]; ++i) {
      for (int64_t j = box.offset[1]; j < box.offset[1] + box.size[1]; ++j) {
        for (int64_t k = box.offset[2]; k < box.offset[2] + box.size[2]; ++k) {
          expected.push_back(static_cast<double>((i * 5 + j) * 6 + k));
        }
      }
    }
    std::vector<double> read(expected.size() + 1, -1.0);
    opened.read(*opened.find("t"), box, DType::kFloat64, read.data());
    expected.push_back(-1.0);  // nothing is written behind the box
    ASSERT_EQ(read, expected) << text_of(box);
  }
  float element = 0;
  const Box outside{{7, 0, 0}, {1, 1, 1}};
  EXPECT_THROW(opened.read(*opened.find("t"), outside, DType::kFloat32, &element), UsageError);
}

TEST_F(SafetensorsFolderTest, ReadsLargeTensorsInPieces) {
  const std::vector<int64_t> shape{3, 200'000};  // longer than the buffer in between
  std::vector<uint16_t> values(600'000);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = bfloat16_from_float(static_cast<float>(i % 251));
  }
  put("model.safetensors",
      safetensors_file("{" + safetensors_entry("t", "BF16", "[3,200000]", 0, 1'200'000) + "}",
                       bytes_of(values)));
  const SafetensorsFolder opened = open();
  std::vector<float> read(2 * 199'998);
  opened.read(*opened.find("t"), Box{{1, 1}, {2, 199'998}}, DType::kFloat32, read.data());
  for (size_t i = 0; i < read.size(); ++i) {
    const size_t index = (1 + i / 199'998) * 200'000 + 1 + i % 199'998;
    ASSERT_EQ(read[i], static_cast<float>(index % 251)) << i;
  }
}

TEST_F(SafetensorsFolderTest, RefusesToReadOtherTypes) {
  put("model.safetensors",
      safetensors_file("{" + safetensors_entry("q", "F8_E4M3", "[4]", 0, 4) + "}", "1234"));
  const SafetensorsFolder opened = open();
  EXPECT_THAT(file_error_of([&] { read_all<float>(opened, "q"); }),
              AllOf(StartsWith(folder() + "/model.safetensors: tensor 'q'"),
                    HasSubstr("F8_E4M3"),
                    HasSubstr("quantized")));
}

TEST_F(SafetensorsFolderTest, ReadsTheShardsOfAnIndex) {
  put("model-2.safetensors", file_with("a"));
  put("model-1.safetensors", file_with("b"));
  put("other.safetensors", "not looked at");
  put_index(R"({"b":"model-1.safetensors","a":"model-2.safetensors"})");
  const SafetensorsFolder opened = open();
  ASSERT_EQ(opened.tensors().size(), 2U);
  EXPECT_EQ(opened.tensors()[0].name, "a");
  EXPECT_EQ(opened.place_of(opened.tensors()[0]), folder() + "/model-2.safetensors: tensor 'a'");
  EXPECT_EQ(opened.find("b"), &opened.tensors()[1]);
  EXPECT_EQ(opened.find("c"), nullptr);
}

TEST_F(SafetensorsFolderTest, FindsTheOneFileWithoutAnIndex) {
  put("weights.safetensors", file_with("a"));
  EXPECT_EQ(open().files()[0].filename(), "weights.safetensors");
  put("more.safetensors", file_with("b"));
  EXPECT_THAT(
      error(),
      AllOf(HasSubstr("2 safetensors files"), HasSubstr("no model.safetensors.index.json")));
  put("model.safetensors", file_with("c"));
  EXPECT_EQ(open().tensors()[0].name, "c");
  put_index(R"({"a":"weights.safetensors"})");
  EXPECT_THAT(error(), HasSubstr("out of date"));
  put_index(R"({"c":"model.safetensors"})");
  EXPECT_EQ(error(), "");
}

TEST_F(SafetensorsFolderTest, FollowsLinksAsTheCacheOfTheHubHasThem) {
  fs::create_directories(scratch_.path() / "blobs");
  fs::create_directories(scratch_.path() / "snapshots" / "1");
  put("blobs/0123", file_with("a"));
  put("blobs/4567", R"({"weight_map":{"a":"model-1.safetensors"}})");
  const fs::path snapshot = scratch_.path() / "snapshots" / "1";
  fs::create_symlink("../../blobs/0123", snapshot / "model-1.safetensors");
  fs::create_symlink("../../blobs/4567", snapshot / "model.safetensors.index.json");
  EXPECT_NE(SafetensorsFolder::open(snapshot).find("a"), nullptr);
  fs::remove(scratch_.path() / "blobs" / "0123");
  EXPECT_THAT(file_error_of([&] { SafetensorsFolder::open(snapshot); }),
              HasSubstr("model-1.safetensors is missing"));
}

TEST_F(SafetensorsFolderTest, SaysWhyThereAreNoWeights) {
  EXPECT_THAT(error(), HasSubstr("holds no weights"));
  put("pytorch_model-00001-of-00002.bin", "");
  EXPECT_THAT(error(),
              AllOf(HasSubstr("pytorch_model-00001-of-00002.bin"),
                    HasSubstr("only safetensors"),
                    HasSubstr("save_pretrained")));
  EXPECT_THAT(file_error_of([&] { SafetensorsFolder::open(scratch_.path() / "no"); }),
              HasSubstr("cannot read the folder"));
  EXPECT_THAT(file_error_of([&] {
                SafetensorsFolder::open(scratch_.path() / "pytorch_model-00001-of-00002.bin");
              }),
              HasSubstr("cannot read the folder"));
  fs::create_directory(scratch_.path() / "model.safetensors");
  EXPECT_THAT(error(), HasSubstr("not a regular file"));
}

TEST_F(SafetensorsFolderTest, RefusesFilesOutsideTheFolder) {
  fs::create_directory(scratch_.path() / "model");
  put("model/in.safetensors", file_with("a"));
  put("out.safetensors", file_with("a"));
  const fs::path model = scratch_.path() / "model";
  const fs::path index = model / "model.safetensors.index.json";
  const std::string outside = (scratch_.path() / "out.safetensors").string();
  for (const std::string& name : {std::string("../out.safetensors"),
                                  outside,
                                  std::string(".."),
                                  std::string("."),
                                  std::string(""),
                                  std::string("./in.safetensors"),
                                  std::string(R"(..\\out.safetensors)"),
                                  std::string(R"(in.safetensors\u0000x)")}) {
    put_content(index, R"({"weight_map":{"a":")" + name + R"("}})");
    EXPECT_THAT(file_error_of([&] { SafetensorsFolder::open(model); }),
                AllOf(HasSubstr("the file of tensor 'a'"),
                      HasSubstr("not the name of a file in this folder")))
        << name;
  }
}

TEST_F(SafetensorsFolderTest, RefusesAnIndexThatDoesNotFit) {
  put("1.safetensors", file_with("a"));
  put("2.safetensors", file_with("b"));
  put_index(R"({"a":"1.safetensors","b":"2.safetensors","c":"2.safetensors"})");
  EXPECT_THAT(error(), HasSubstr("2.safetensors has no tensor 'c', which"));
  put_index(R"({"a":"1.safetensors","c":"2.safetensors"})");
  EXPECT_THAT(error(), HasSubstr("2.safetensors: tensor 'b' is not in model.safetensors.index"));
  put_index(R"({"a":"2.safetensors","b":"1.safetensors"})");
  EXPECT_THAT(error(),
              AllOf(HasSubstr("1.safetensors: tensor 'a' is there"),
                    HasSubstr("says it is in 2.safetensors")));
  put_index(R"({"a":"1.safetensors","b":"3.safetensors"})");
  EXPECT_THAT(error(), AllOf(HasSubstr("3.safetensors is missing"), HasSubstr("download")));
  put("2.safetensors", file_with("a"));
  put_index(R"({"a":"1.safetensors","b":"2.safetensors"})");
  EXPECT_THAT(error(), HasSubstr("1.safetensors: tensor 'a' is also in 2.safetensors"));
}

TEST_F(SafetensorsFolderTest, RefusesAnIndexThatIsNone) {
  put("1.safetensors", file_with("a"));
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "not valid JSON"},
      {"[]", "must be an object"},
      {"{}", "has no 'weight_map'"},
      {R"({"weight_map":[]})", "weight_map must be an object"},
      {R"({"weight_map":{}})", "names no tensor"},
      {R"({"weight_map":{"a":1}})", "must be a text"},
      {R"({"weight_map":{"a":"1.safetensors","a":"1.safetensors"}})", "occurs twice"},
      {R"({"weight_map":)" + std::string(100'000, '{'), "JSON"},
  };
  for (const auto& [content, complaint] : cases) {
    put("model.safetensors.index.json", content);
    EXPECT_THAT(error(), AllOf(HasSubstr("model.safetensors.index.json"), HasSubstr(complaint)))
        << content.substr(0, 50);
  }
}

TEST_F(SafetensorsFolderTest, NamesTheDamagedShard) {
  put("1.safetensors", file_with("a"));
  put("2.safetensors", file_with("b").substr(0, 20));
  put_index(R"({"a":"1.safetensors","b":"2.safetensors"})");
  EXPECT_THAT(error(), StartsWith(folder() + "/2.safetensors has 20 bytes and ends within"));
  put("2.safetensors", "version https://git-lfs.github.com/spec/v1\n");
  EXPECT_THAT(error(), StartsWith(folder() + "/2.safetensors is a git-lfs pointer"));
}

int64_t resident_kilobytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "VmRSS:") {
  }
  int64_t kilobytes = 0;
  status >> kilobytes;
  return kilobytes;
}

TEST_F(SafetensorsFolderTest, TakesMemoryForWhatIsReadOnly) {
  const int64_t bytes = int64_t{1} << 30;
  put("model.safetensors",
      safetensors_file("{" + safetensors_entry("t", "BF16", "[262144,2048]", 0, bytes) + "}", ""));
  const fs::path file = scratch_.path() / "model.safetensors";
  fs::resize_file(file, fs::file_size(file) + static_cast<uintmax_t>(bytes));  // no disk is used
  const int64_t before = resident_kilobytes();
  ASSERT_GT(before, 0);
  const SafetensorsFolder opened = open();
  std::vector<float> column(262144 / 64);
  opened.read(*opened.find("t"), Box{{0, 5}, {262144 / 64, 1}}, DType::kFloat32, column.data());
  EXPECT_LT(resident_kilobytes() - before, int64_t{128} << 10);
}

}  // namespace
}  // namespace enodia
