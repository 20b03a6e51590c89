// One job in one run directory: the lock, and what --fresh chooses.
#include "trainer/run/run_directory.h"

#include <cerrno>
#include <csignal>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"
#include "collectives/run_together.h"
#include "common/file.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {
int refusing_errno = 0;  // what flock answers instead of locking, as some file systems do
}  // namespace

/// Takes the place of the C library's in this program.
extern "C" int flock(int file, int operation) {
  if (refusing_errno != 0) {
    errno = refusing_errno;
    return -1;
  }
  return static_cast<int>(syscall(SYS_flock, file, operation));
}

namespace enodia {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RunDirectoryTest : public ::testing::Test {
 protected:
  RunDirectoryTest() {
    std::string name = (fs::temp_directory_path() / "enodia_run_XXXXXX").string();
    root_ = mkdtemp(name.data());
  }
  ~RunDirectoryTest() override {
    refusing_errno = 0;
    fs::remove_all(root_);
  }
  std::string path(const std::string& name) const { return (root_ / name).string(); }
  void put(const std::string& file, const std::string& text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  /// On `ranks` ranks: what each calls its directory, and the lock of rank 0.
  std::pair<std::vector<std::string>, std::optional<RunLock>> claim(const std::string& directory,
                                                                    RunStart start,
                                                                    int ranks = 3) const {
    std::vector<std::string> chosen(static_cast<size_t>(ranks));
    std::optional<RunLock> lock;
    run_loopback(ranks, [&](Communicator& world) {
      TrainConfig config;
      config.run.dir = directory;
      std::optional<RunLock> mine = claim_run_directory(world, config, start);
      EXPECT_EQ(mine.has_value(), world.rank() == 0);
      chosen[static_cast<size_t>(world.rank())] = config.run.dir;
      if (world.rank() == 0) {
        lock = std::move(mine);
      }
    });
    return {chosen, std::move(lock)};
  }

  fs::path root_;
};

using RunLockTest = RunDirectoryTest;

TEST_F(RunLockTest, IsHeldByOneAndTellsWho) {
  std::optional<RunLock> first = RunLock::try_take(path("a/run"));
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->works());
  const std::string content = read_file(path("a/run/lock"));
  EXPECT_FALSE(RunLock::try_take(path("a/run")));
  EXPECT_EQ(read_file(path("a/run/lock")), content);
  EXPECT_THAT(RunLock::holder(path("a/run")),
              ::testing::MatchesRegex("process " + std::to_string(getpid()) +
                                      " on .+ since 20..-..-.. ..:..:.. [-+]...."));
  EXPECT_TRUE(RunLock::try_take(path("other")));
  first.reset();
  EXPECT_TRUE(RunLock::try_take(path("a/run")));
}

TEST_F(RunLockTest, IsFreeAgainWhenItsProcessWasKilled) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::optional<RunLock> lock = RunLock::try_take(path("run"));
    [[maybe_unused]] const ssize_t written = write(ready[1], lock ? "y" : "n", 1);
    pause();
    _exit(0);
  }
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_FALSE(RunLock::try_take(path("run")));
  EXPECT_THAT(RunLock::holder(path("run")), HasSubstr("process " + std::to_string(child) + " on "));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(RunLock::try_take(path("run")));
}

TEST_F(RunLockTest, DoesNotTrustItsFile) {
  const std::optional<RunLock> lock = RunLock::try_take(path("run"));
  for (const char* content : {"", "[]", "{\"pid\": \"x\"}", "\xff"}) {
    put("run/lock", content);
    EXPECT_EQ(RunLock::holder(path("run")), "a process that its file 'lock' does not tell");
  }
}

TEST_F(RunLockTest, GoesOnWhereLocksDoNotWork) {
  for (const int error : {ENOLCK, EOPNOTSUPP, EINVAL, ENOSYS}) {
    refusing_errno = error;
    const std::optional<RunLock> lock = RunLock::try_take(path("run"));
    ASSERT_TRUE(lock);
    EXPECT_FALSE(lock->works());
  }
}

TEST_F(RunLockTest, SaysWhichDirectoryCannotBeMade) {
  put("file", "x");
  EXPECT_THROW(RunLock::try_take(path("file")), FileError);
  EXPECT_THROW(RunLock::try_take(path("file/run")), FileError);
  fs::create_directories(path("run/lock"));
  EXPECT_THROW(RunLock::try_take(path("run")), FileError);
}

TEST_F(RunDirectoryTest, ASecondJobIsRefusedOnAllRanks) {
  const auto [chosen, lock] = claim(path("run"), RunStart::kResume);
  EXPECT_THAT(chosen, ::testing::Each(path("run")));
  run_loopback(3, [&](Communicator& world) {
    TrainConfig config;
    config.run.dir = path("run");
    try {
      claim_run_directory(world, config, RunStart::kResume);
      ADD_FAILURE() << "two jobs have one directory";
    } catch (const SharedError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kConfig);
      EXPECT_THAT(error.what(), HasSubstr("another job trains in " + path("run") + ": process "));
    }
  });
}

TEST_F(RunDirectoryTest, FreshRunsCountUpAndLeaveTheOthersAlone) {
  put("run/metrics.jsonl", "old");
  put("run-2/config.yaml", "old");
  const auto [chosen, lock] = claim(path("run/"), RunStart::kFresh);
  EXPECT_THAT(chosen, ::testing::Each(path("run-3")));
  EXPECT_FALSE(fs::exists(path("run/lock")));
  EXPECT_FALSE(fs::exists(path("run-2/lock")));
  EXPECT_EQ(read_file(path("run/metrics.jsonl")), "old");
  EXPECT_EQ(claim(path("run"), RunStart::kFresh).first[0], path("run-4"));
}

TEST_F(RunDirectoryTest, FreshRunsTakeDirectoriesThatHoldNoRun) {
  EXPECT_EQ(claim(path("new"), RunStart::kFresh).first[0], path("new"));
  EXPECT_EQ(claim(path("new"), RunStart::kFresh).first[0], path("new"));  // only its lock is there
  fs::create_directories(path("empty"));
  EXPECT_EQ(claim(path("empty"), RunStart::kFresh).first[0], path("empty"));
  const std::optional<RunLock> busy = RunLock::try_take(path("busy"));
  EXPECT_EQ(claim(path("busy"), RunStart::kFresh).first[0], path("busy-2"));
}

TEST_F(RunDirectoryTest, FreshRunsNeverShareWhereLocksDoNotWork) {
  refusing_errno = ENOLCK;
  fs::create_directories(path("run"));
  EXPECT_EQ(claim(path("run"), RunStart::kFresh).first[0], path("run-2"));
  EXPECT_EQ(claim(path("run"), RunStart::kFresh).first[0], path("run-3"));
}

TEST_F(RunDirectoryTest, JobsThatChooseAtOnceNeverShare) {
  constexpr int kJobs = 8;
  std::mutex mutex;
  std::set<std::string> chosen;
  std::vector<RunLock> locks;
  std::vector<std::thread> jobs;
  fs::create_directories(path("run"));
  for (int i = 0; i < kJobs; ++i) {
    jobs.emplace_back([&] {
      auto [names, lock] = claim(path("run"), RunStart::kFresh, 1);
      const std::lock_guard guard(mutex);
      chosen.insert(names[0]);
      locks.push_back(std::move(*lock));
    });
  }
  for (std::thread& job : jobs) {
    job.join();
  }
  EXPECT_EQ(chosen.size(), static_cast<size_t>(kJobs));
}

}  // namespace
}  // namespace enodia
