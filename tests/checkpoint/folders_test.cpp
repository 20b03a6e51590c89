#include "checkpoint/native/folders.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "tests/checkpoint/states.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

class Folders : public ::testing::Test {
 protected:
  void save_step(int64_t step) { save(make_state(1), Cut::kRows, 2, folder(), step); }
  const fs::path& folder() const { return scratch_.path(); }
  std::set<std::string> names() const {
    std::set<std::string> all;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder())) {
      all.insert(entry.path().filename().string());
    }
    return all;
  }

 private:
  const ScratchFolder scratch_;
};

TEST_F(Folders, ReadStepsStrictly) {
  EXPECT_EQ(step_of_folder("step_0"), 0);
  EXPECT_EQ(step_of_folder("step_1200"), 1200);
  for (const char* name : {"step_",
                           "step_01",
                           "step_-1",
                           "step_+1",
                           "step_1 ",
                           "step_1x",
                           "Step_1",
                           "step_99999999999999999999",
                           "1",
                           ""}) {
    EXPECT_EQ(step_of_folder(name), std::nullopt) << name;
  }
}

TEST_F(Folders, HoldNoCheckpointWhenEmptyOrMissing) {
  EXPECT_EQ(newest_checkpoint(folder()).path, std::nullopt);
  EXPECT_EQ(newest_checkpoint(folder() / "absent").path, std::nullopt);
  put_content(folder() / "file", "x");
  EXPECT_THROW(newest_checkpoint(folder() / "file"), FileError);
}

TEST_F(Folders, GiveTheNewestByNumber) {
  save_step(9);
  save_step(10);
  save_step(100);
  const FoundCheckpoint found = newest_checkpoint(folder());
  EXPECT_EQ(found.path, folder() / "step_100");
  EXPECT_THAT(found.skipped, IsEmpty());
}

TEST_F(Folders, SkipAndReportWhatIsBroken) {
  save_step(1);
  for (int64_t step = 2; step <= 6; ++step) {
    save_step(step);
  }
  fs::resize_file(folder() / "step_6" / "shard_00001.bin", 1);
  fs::remove(folder() / "step_5" / "shard_00000.bin");
  fs::resize_file(folder() / "step_4" / "manifest.json", 100);
  fs::remove_all(folder() / "step_3");
  fs::create_directory_symlink(folder() / "step_3", folder() / "step_3");
  fs::rename(folder() / "step_2", folder() / "step_7");
  put_content(folder() / "step_8", "not a folder");
  fs::create_directory(folder() / "step_9");
  const std::set<std::string> before = names();
  const FoundCheckpoint found = newest_checkpoint(folder());
  EXPECT_EQ(found.path, folder() / "step_1");
  EXPECT_THAT(found.skipped,
              ElementsAre(HasSubstr("step_9 is not a complete checkpoint"),
                          HasSubstr("step_8 is not a folder"),
                          HasSubstr("step_7 holds a checkpoint of step 2"),
                          HasSubstr("step_6/shard_00001.bin has 1 bytes"),
                          HasSubstr("step_5/shard_00000.bin is missing"),
                          HasSubstr("step_4/manifest.json: it does not end with a checksum"),
                          HasSubstr("step_3 is not a folder")));
  EXPECT_EQ(names(), before);
}

TEST_F(Folders, KeepTheNewestWholeOnes) {
  for (int64_t step = 1; step <= 5; ++step) {
    save_step(step);
  }
  fs::remove(folder() / "step_4" / "shard_00000.bin");  // broken: neither counted nor deleted
  EXPECT_THAT(remove_old(folder(), 2), IsEmpty());
  EXPECT_EQ(names(), (std::set<std::string>{"step_5", "step_4", "step_3"}));
  EXPECT_THROW(remove_old(folder(), 0), UsageError);
}

TEST_F(Folders, DeleteNothingForeign) {
  save_step(1);
  save_step(2);
  put_content(folder() / "step_1" / "notes.txt", "mine");
  fs::create_directories(folder() / "step_final" / "x");
  fs::create_directories(folder() / "step_0.tmp-mine" / "x");
  put_content(folder() / "step_5.tmp", "a file");
  fs::create_directory_symlink(folder() / "step_2", folder() / "step_0");
  const std::set<std::string> before = names();
  EXPECT_THAT(remove_old(folder(), 1),
              ElementsAre(HasSubstr("'notes.txt' in it is not part of the checkpoint")));
  EXPECT_EQ(names(), before);
}

TEST_F(Folders, DeleteWhatCrashesLeft) {
  save_step(1);
  save_step(2);
  fs::copy(folder() / "step_2", folder() / "step_2.old", fs::copy_options::recursive);
  fs::copy(folder() / "step_2", folder() / "step_3.tmp", fs::copy_options::recursive);
  fs::create_directories(folder() / ".trash-step_1" / "x");
  EXPECT_THAT(remove_old(folder(), 5), IsEmpty());
  EXPECT_EQ(names(), (std::set<std::string>{"step_1", "step_2"}));
}

TEST_F(Folders, UseAnOldOneThatWasNotReplaced) {
  save_step(1);
  save_step(2);
  fs::rename(folder() / "step_2", folder() / "step_2.old");
  EXPECT_EQ(newest_checkpoint(folder()).path, folder() / "step_2.old");
  EXPECT_THAT(remove_old(folder(), 1), IsEmpty());
  EXPECT_EQ(names(), (std::set<std::string>{"step_2.old"}));
  EXPECT_EQ(newest_checkpoint(folder()).path, folder() / "step_2.old");
}

}  // namespace
}  // namespace enodia
