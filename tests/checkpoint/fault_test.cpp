#include <csignal>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/native/folders.h"
#include "common/error.h"
#include "tests/checkpoint/states.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace enodia {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int kWorld = 2;
constexpr std::array kPointsOfAll{
    "begin", "folder_made", "box_written", "before_flush", "shard_written"};
constexpr std::array kPointsOfFirst{
    "before_manifest", "before_rename", "between_renames", "after_rename"};

/// Every (rank, point) at which a save may be struck.
std::vector<std::pair<int, std::string>> places() {
  std::vector<std::pair<int, std::string>> all;
  for (int rank = 0; rank < kWorld; ++rank) {
    for (const char* point : kPointsOfAll) {
      all.emplace_back(rank, point);
    }
  }
  for (const char* point : kPointsOfFirst) {
    all.emplace_back(0, point);
  }
  return all;
}

/// Runs `work` in a process of its own; its wait status.
int in_child(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

/// The state that the newest checkpoint holds, whole and verified: 1, 2, ... by seed, or 0.
int newest_seed(const fs::path& folder) {
  const FoundCheckpoint found = newest_checkpoint(folder);
  if (!found.path) {
    return 0;
  }
  const Checkpoint checkpoint = Checkpoint::open(*found.path);
  checkpoint.verify();
  for (int seed = 1; seed <= 3; ++seed) {
    if (holds(checkpoint, make_state(seed))) {
      return seed;
    }
  }
  ADD_FAILURE() << *found.path << " holds a mix of states";
  return -1;
}

class Kill : public ::testing::TestWithParam<int64_t> {};

/// State 1 is saved as step 10; the save of state 2 as step GetParam() is killed. With step 20 that
/// is a new checkpoint, with step 10 it replaces the one there is.
TEST_P(Kill, LeavesTheOldOrTheNewCheckpoint) {
  for (const auto& [rank, point] : places()) {
    SCOPED_TRACE("rank " + std::to_string(rank) + " killed at " + point);
    const ScratchFolder scratch;
    save(make_state(1), Cut::kRows, kWorld, scratch.path(), 10);
    const int status = in_child([&, victim = rank, where = point] {
      save(make_state(2),
           Cut::kColumns,
           kWorld,
           scratch.path(),
           GetParam(),
           [&](int here, std::string_view at) {
             if (here == victim && at == where) {
               ::raise(SIGKILL);
             }
           });
    });
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    EXPECT_EQ(newest_seed(scratch.path()), point == "after_rename" ? 2 : 1);

    // The next run saves again and cleans up.
    save(make_state(3), Cut::kTiles, kWorld, scratch.path(), GetParam());
    EXPECT_EQ(newest_seed(scratch.path()), 3);
    EXPECT_TRUE(remove_old(scratch.path(), 1).empty());
    EXPECT_EQ(std::distance(fs::directory_iterator(scratch.path()), fs::directory_iterator()), 1);
    EXPECT_EQ(newest_seed(scratch.path()), 3);
  }
}

/// The same with an error in place of the kill: all ranks throw one sentence (save checks that).
TEST_P(Kill, OrAnErrorIsAgreedByAllRanks) {
  for (const auto& [rank, point] : places()) {
    SCOPED_TRACE("rank " + std::to_string(rank) + " fails at " + point);
    const ScratchFolder scratch;
    save(make_state(1), Cut::kRows, kWorld, scratch.path(), 10);
    const std::string error = file_error_of([&, victim = rank, where = point] {
      save(make_state(2),
           Cut::kColumns,
           kWorld,
           scratch.path(),
           GetParam(),
           [&](int here, std::string_view at) {
             if (here == victim && at == where) {
               throw std::runtime_error("No space left on device");
             }
           });
    });
    const bool late = point == "after_rename";
    EXPECT_THAT(error, HasSubstr("rank " + std::to_string(rank) + ": No space left on device"));
    EXPECT_THAT(error, HasSubstr(late ? "is in place all the same" : "nothing was committed"));
    EXPECT_EQ(newest_seed(scratch.path()), late ? 2 : 1);
    EXPECT_FALSE(fs::exists(scratch.path() / ("step_" + std::to_string(GetParam()) + ".tmp")));
    EXPECT_TRUE(fs::exists(scratch.path() / "step_10"));
  }
}

INSTANTIATE_TEST_SUITE_P(Steps, Kill, ::testing::Values(10, 20), [](const auto& each) {
  return each.param == 10 ? "Replacing" : "Adding";
});

/// Tries to save where no file can pass `limit_bytes`: a write past it fails as on a full disk.
void expect_limited_save_fails(rlim_t limit_bytes, const std::string& reason) {
  const ScratchFolder scratch;
  save(make_state(1), Cut::kRows, kWorld, scratch.path(), 10);
  const int status = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{limit_bytes, limit_bytes};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    EXPECT_THAT(
        file_error_of([&] { save(make_state(2), Cut::kColumns, kWorld, scratch.path(), 20); }),
        ::testing::AllOf(
            HasSubstr(reason), HasSubstr("File too large"), HasSubstr("nothing was committed")));
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(newest_seed(scratch.path()), 1);
  EXPECT_FALSE(fs::exists(scratch.path() / "step_20.tmp"));
}

TEST(DiskFault, OfFullDiskLeavesTheOldCheckpoint) {
  const ScratchFolder scratch;
  save(make_state(2), Cut::kColumns, kWorld, scratch.path(), 20);
  const auto size_of_file = [&](const char* name) {
    return fs::file_size(scratch.path() / "step_20" / name);
  };
  const rlim_t first = size_of_file("shard_00000.bin");
  const rlim_t second = size_of_file("shard_00001.bin");
  const rlim_t manifest = size_of_file("manifest.json");
  ASSERT_LT(first, second);
  ASSERT_LT(second, manifest);
  expect_limited_save_fails(first - 1, "rank 0: cannot write");
  expect_limited_save_fails(second - 1, "rank 1: cannot write");
  expect_limited_save_fails(manifest - 1, "manifest.json");
}

TEST(DiskFault, OfAFolderThatCannotBeMadeIsASentence) {
  const ScratchFolder scratch;
  put_content(scratch.path() / "file", "x");
  const fs::path folder = scratch.path() / "file" / "checkpoints";
  EXPECT_THAT(file_error_of([&] { save(make_state(1), Cut::kRows, kWorld, folder, 1); }),
              HasSubstr("rank 0: cannot create the folder"));
  EXPECT_THAT(file_error_of([&] { check_writable(folder); }),
              HasSubstr("cannot create the folder of checkpoints"));
  EXPECT_THAT(file_error_of([&] { check_writable("/proc/1"); }),
              HasSubstr("checkpoints cannot be saved in /proc/1"));
}

TEST(DiskFault, OfRanksWithoutASharedFolderIsASentence) {
  const ScratchFolder scratch;
  std::map<int, std::string> sentences;
  const std::string error = file_error_of([&] {
    save(make_state(1), Cut::kRows, kWorld, scratch.path(), 1, [&](int rank, std::string_view at) {
      if (rank == 0 && at == "folder_made") {
        fs::rename(scratch.path() / "step_1.tmp", scratch.path() / "hidden");
      }
    });
  });
  EXPECT_THAT(error, HasSubstr("all ranks must share this file system"));
}

TEST(DiskFault, IsFoundBeforeTraining) {
  const ScratchFolder scratch;
  check_writable(scratch.path() / "a" / "b");
  EXPECT_TRUE(fs::is_empty(scratch.path() / "a" / "b"));
}

}  // namespace
}  // namespace enodia
