#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/random.h"
#include "tests/checkpoint/states.h"

#include <sys/stat.h>

namespace enodia {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

/// A checkpoint whose files a test damages, and a pristine copy.
class Damage : public ::testing::Test {
 protected:
  Damage() { save(state_, Cut::kTiles, 2, scratch_.path(), 20); }

  fs::path file(const std::string& name) const { return scratch_.path() / "step_20" / name; }
  Checkpoint open() const { return Checkpoint::open(scratch_.path() / "step_20"); }
  std::string open_error() const {
    return file_error_of([&] { open(); });
  }

  const State state_ = make_state(1);
  const ScratchFolder scratch_;
};

TEST_F(Damage, OfOneBitIsAlwaysFound) {
  const std::vector<std::string> names{
      "manifest.json", "shard_00000.bin", "shard_00001.bin", "config.yaml", "tokenizer.model"};
  const RandomKey key(5);
  int in_padding = 0;
  for (uint64_t round = 0; round < 1000; ++round) {
    const std::string& name = names[round % names.size()];
    const std::string whole = content_of(file(name));
    const auto bit =
        static_cast<size_t>(random_uniform(key, round) * static_cast<double>(whole.size() * 8));
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    put_content(file(name), flipped);
    ASSERT_NE(file_error_of([&] { open().verify(); }), "") << name << ", bit " << bit;
    bool same = false;
    const std::string error = file_error_of([&] { same = holds(open(), state_); });
    ASSERT_TRUE(!error.empty() || same) << name << ", bit " << bit << " gives other data";
    in_padding += error.empty() ? 1 : 0;
    put_content(file(name), whole);
  }
  EXPECT_GT(in_padding, 0);
  EXPECT_LT(in_padding, 400);  // only the zeros between boxes may go unnoticed by a reader
  EXPECT_TRUE(holds(open(), state_));
}

TEST_F(Damage, OfDataNamesFileAndTensor) {
  std::string bytes = content_of(file("shard_00001.bin"));
  bytes[0] = static_cast<char>(bytes[0] ^ 1);
  put_content(file("shard_00001.bin"), bytes);
  EXPECT_EQ(open_error(), "");  // sizes are right; data is verified when it is read
  EXPECT_THAT(file_error_of([&] { holds(open(), state_); }),
              ::testing::AllOf(HasSubstr("shard_00001.bin"),
                               HasSubstr("'layers.0.experts.weight'"),
                               HasSubstr("use an older checkpoint")));
}

TEST_F(Damage, OfOneTensorLeavesTheOthersReadable) {
  std::string bytes = content_of(file("shard_00001.bin"));
  bytes[0] = static_cast<char>(bytes[0] ^ 1);
  put_content(file("shard_00001.bin"), bytes);
  const Checkpoint checkpoint = open();
  EXPECT_NE(file_error_of([&] { checkpoint.tensor_hash("layers.0.experts.weight"); }), "");
  EXPECT_EQ(file_error_of([&] { checkpoint.tensor_hash("layers.0.gate.weight"); }), "");
}

TEST_F(Damage, OfAFileLengthIsFoundOnOpening) {
  for (const std::string name : {"shard_00000.bin", "shard_00001.bin", "config.yaml"}) {
    const std::string whole = content_of(file(name));
    put_content(file(name), whole.substr(0, whole.size() - 1));
    EXPECT_THAT(open_error(), HasSubstr(name + " has " + std::to_string(whole.size() - 1)));
    put_content(file(name), "");
    EXPECT_THAT(open_error(), HasSubstr(name + " has 0 bytes"));
    put_content(file(name), whole + "x");
    EXPECT_THAT(open_error(), HasSubstr(name + " has " + std::to_string(whole.size() + 1)));
    fs::remove(file(name));
    EXPECT_THAT(open_error(), HasSubstr(name + " is missing"));
    put_content(file(name), whole);
  }
  fs::remove(file("manifest.json"));
  EXPECT_THAT(open_error(), HasSubstr("it has no manifest.json"));
}

TEST_F(Damage, ByAnotherKindOfFileIsRefused) {
  for (const std::string name : {"manifest.json", "shard_00000.bin", "config.yaml"}) {
    const fs::path elsewhere = scratch_.path() / "elsewhere";
    fs::rename(file(name), elsewhere);
    fs::create_symlink(elsewhere, file(name));
    EXPECT_THAT(open_error(), HasSubstr(name + " is not a regular file"));
    fs::remove(file(name));
    fs::create_directory(file(name));
    EXPECT_THAT(open_error(), HasSubstr(name + " is not a regular file"));
    fs::remove(file(name));
    ASSERT_EQ(::mkfifo(file(name).c_str(), 0644), 0);
    EXPECT_THAT(open_error(), HasSubstr(name + " is not a regular file"));
    fs::remove(file(name));
    fs::rename(elsewhere, file(name));
  }
  EXPECT_EQ(open_error(), "");
}

TEST_F(Damage, BySwappedFilesIsFound) {
  save(state_, Cut::kRows, 1, scratch_.path() / "other", 20);
  save(make_state(2), Cut::kTiles, 2, scratch_.path() / "newer", 20);
  const fs::path swapped = scratch_.path() / "swapped";
  fs::rename(file("shard_00000.bin"), swapped);
  fs::copy_file(scratch_.path() / "newer" / "step_20" / "shard_00000.bin", file("shard_00000.bin"));
  EXPECT_NE(file_error_of([&] { holds(open(), state_); }), "");  // of the same size
  fs::remove(file("shard_00000.bin"));
  fs::rename(file("shard_00001.bin"), file("shard_00000.bin"));
  fs::rename(swapped, file("shard_00001.bin"));
  EXPECT_NE(file_error_of([&] { holds(open(), state_); }), "");
  fs::copy_file(scratch_.path() / "other" / "step_20" / "manifest.json",
                file("manifest.json"),
                fs::copy_options::overwrite_existing);
  EXPECT_NE(file_error_of([&] { holds(open(), state_); }), "");
}

TEST_F(Damage, WhileACheckpointIsOpenIsFoundBeforeMapping) {
  const Checkpoint checkpoint = open();
  fs::resize_file(file("shard_00000.bin"), 10);
  EXPECT_THAT(file_error_of([&] { checkpoint.verify(); }), HasSubstr("cut short or changed"));
}

TEST_F(Damage, OfTheFolderIsASentence) {
  EXPECT_THAT(file_error_of([&] { Checkpoint::open(scratch_.path() / "absent"); }),
              HasSubstr("absent is not a complete checkpoint"));
  EXPECT_NE(file_error_of([&] { Checkpoint::open(file("config.yaml")); }), "");
  fs::create_directory_symlink(scratch_.path() / "loop", scratch_.path() / "loop");
  EXPECT_NE(file_error_of([&] { Checkpoint::open(scratch_.path() / "loop"); }), "");
}

}  // namespace
}  // namespace enodia
