#include "common/file.h"

#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"

#include <sys/stat.h>
#include <unistd.h>

namespace enodia {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class File : public ::testing::Test {
 protected:
  File() : folder_(fs::path(::testing::TempDir()) / ("enodia_file." + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~File() override { fs::remove_all(folder_); }

  fs::path folder_;
};

TEST_F(File, WhatWasWrittenReadsBack) {
  const std::string content("a\0b\nc", 5);
  write_file_atomically(folder_ / "x", content);
  EXPECT_EQ(read_file(folder_ / "x"), content);
  write_file_atomically(folder_ / "x", "");
  EXPECT_EQ(read_file(folder_ / "x"), "");
}

TEST_F(File, WritingReplacesAndLeavesNothingBeside) {
  write_file_atomically(folder_ / "x", "a long first content");
  write_file_atomically(folder_ / "x", "short");
  EXPECT_EQ(read_file(folder_ / "x"), "short");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(File, ErrorsNameThePath) {
  const auto missing = folder_ / "missing";
  EXPECT_THAT([&] { read_file(missing); }, ThrowsMessage<FileError>(HasSubstr(missing.string())));
  EXPECT_THAT([&] { MappedFile file(missing); },
              ThrowsMessage<FileError>(HasSubstr(missing.string())));
  EXPECT_THAT([&] { write_file_atomically(missing / "x", "content"); },
              ThrowsMessage<FileError>(HasSubstr(missing.string())));
  EXPECT_THAT([&] { sync_folder(missing); }, ThrowsMessage<FileError>(HasSubstr(missing.string())));
}

TEST_F(File, RefusesWhatIsTooLarge) {
  write_file_atomically(folder_ / "x", "12345");
  EXPECT_EQ(read_file(folder_ / "x", 5), "12345");
  EXPECT_THAT([&] { read_file(folder_ / "x", 4); },
              ThrowsMessage<FileError>(HasSubstr("5 bytes are more than the 4 allowed")));
}

TEST_F(File, RefusesFoldersAndPipesWithoutWaiting) {
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  for (const fs::path& path : {folder_, folder_ / "pipe"}) {
    EXPECT_THAT([&] { read_file(path); },
                ThrowsMessage<FileError>(HasSubstr("not a regular file")));
    EXPECT_THAT([&] { MappedFile file(path); },
                ThrowsMessage<FileError>(HasSubstr("not a regular file")));
  }
}

TEST_F(File, MapsItsContent) {
  write_file_atomically(folder_ / "x", "mapped");
  const MappedFile file(folder_ / "x");
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(file.data()), file.size()), "mapped");
  write_file_atomically(folder_ / "empty", "");
  EXPECT_EQ(MappedFile(folder_ / "empty").size(), 0);
}

}  // namespace
}  // namespace enodia
