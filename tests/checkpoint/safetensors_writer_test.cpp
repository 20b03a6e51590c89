#include "checkpoint/safetensors/safetensors_writer.h"

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors/safetensors_folder.h"
#include "checkpoint/safetensors/safetensors_header.h"
#include "common/error.h"
#include "tests/checkpoint/safetensors_files.h"
#include "tests/checkpoint/states.h"

#include <sys/resource.h>

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class SafetensorsWriterTest : public ::testing::Test {
 protected:
  void write(const std::vector<SafetensorsSpec>& tensors, size_t bytes) const {
    SafetensorsWriter writer(path_, tensors, {});
    writer.write(bytes_of(std::string(bytes, 'x')));
    writer.finish();
  }
  /// What is in the folder.
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(scratch_.path()), fs::directory_iterator()));
  }

  const ScratchFolder scratch_;
  const fs::path path_ = scratch_.path() / "model.safetensors";
};

TEST_F(SafetensorsWriterTest, WritesWhatTheFolderReads) {
  const std::vector<float> matrix{1, 2, 3, 4, 5, 6};
  const std::vector<uint16_t> brain{0x3F80};
  const std::vector<int64_t> ids{-1};
  const std::vector<double> wide{0.1, 0.2};
  SafetensorsWriter writer(path_,
                           {{"z", DType::kFloat32, {2, 3}},
                            {"b", DType::kBFloat16, {}},
                            {"empty", DType::kFloat32, {0, 5}},
                            {"a", DType::kFloat64, {2}},
                            {"ids", DType::kInt64, {1}}},
                           {{"format", "pt"}});
  writer.write(std::as_bytes(std::span(matrix).first(1)));  // any pieces do
  writer.write(std::as_bytes(std::span(matrix).subspan(1)));
  writer.write(std::as_bytes(std::span(brain)));
  writer.write(std::as_bytes(std::span(wide)));
  writer.write(std::as_bytes(std::span(ids)));
  EXPECT_FALSE(fs::exists(path_));
  writer.finish();
  EXPECT_EQ(files(), 1U);

  const std::string file = content_of(path_);
  const SafetensorsHeader header = parse_safetensors(file);
  EXPECT_EQ(header.metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_EQ(static_cast<unsigned char>(file[0]) % 8, 0);  // so that the data is aligned
  const SafetensorsFolder folder = SafetensorsFolder::open(scratch_.path());
  std::vector<double> read(6);
  folder.read(*folder.find("z"), Box{{0, 0}, {2, 3}}, DType::kFloat64, read.data());
  EXPECT_THAT(read, ::testing::ElementsAreArray(matrix));
  folder.read(*folder.find("b"), Box{}, DType::kFloat64, read.data());
  EXPECT_EQ(read[0], 1.0);
  folder.read(*folder.find("a"), Box{{1}, {1}}, DType::kFloat64, read.data());
  EXPECT_EQ(read[0], 0.2);
  EXPECT_EQ(folder.find("ids")->type, "I64");
  EXPECT_EQ(folder.find("empty")->shape, (std::vector<int64_t>{0, 5}));
}

TEST_F(SafetensorsWriterTest, LeavesTheOldFileUntilItIsDone) {
  put_content(path_, "old");
  {
    SafetensorsWriter writer(path_, {{"a", DType::kFloat32, {2}}}, {});
    writer.write(bytes_of("1234"));
    EXPECT_EQ(content_of(path_), "old");
    EXPECT_THROW(writer.finish(), UsageError);
    EXPECT_THROW(writer.write(bytes_of("12345")), UsageError);
  }
  EXPECT_EQ(content_of(path_), "old");
  EXPECT_EQ(files(), 1U);
  write({{"a", DType::kFloat32, {2}}}, 8);
  EXPECT_EQ(parse_safetensors(content_of(path_)).entries.size(), 1U);
  EXPECT_EQ(files(), 1U);
}

TEST_F(SafetensorsWriterTest, LeavesNothingBehindWhenThereIsNoRoom) {
  put_content(path_, "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{1000, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);  // the write fails instead
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string error = file_error_of([&] { write({{"a", DType::kFloat32, {1000}}}, 4000); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(error, AllOf(HasSubstr("cannot write " + path_.string()), HasSubstr("too large")));
  EXPECT_EQ(content_of(path_), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(SafetensorsWriterTest, SaysWhyItCannotWriteThere) {
  const auto error_at = [](const fs::path& path) {
    return file_error_of([&] { SafetensorsWriter(path, {}, {}); });
  };
  EXPECT_THAT(error_at(scratch_.path() / "no" / "x"), HasSubstr("its folder does not exist"));
  EXPECT_THAT(error_at(scratch_.path()), HasSubstr("other than a file"));
  EXPECT_THAT(error_at("/dev/null"), HasSubstr("other than a file"));
  put_content(path_, "file");
  EXPECT_THAT(error_at(path_ / "x"), HasSubstr("Not a directory"));
}

TEST_F(SafetensorsWriterTest, RefusesTensorsThatCannotBe) {
  EXPECT_THROW(write({{"a", DType::kFloat32, {1}}, {"a", DType::kFloat32, {1}}}, 8), UsageError);
  EXPECT_THROW(write({{"__metadata__", DType::kFloat32, {1}}}, 4), UsageError);
  EXPECT_THROW(write({{"a", DType::kFloat32, {-1}}}, 4), UsageError);
  EXPECT_THROW(write({{"a", DType::kFloat32, {int64_t{1} << 40, int64_t{1} << 40}}}, 4),
               UsageError);
  EXPECT_EQ(files(), 0U);
}

}  // namespace
}  // namespace enodia
