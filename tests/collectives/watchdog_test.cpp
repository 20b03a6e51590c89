#include "collectives/watch/watchdog.h"

#include <atomic>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"
#include "collectives/watch/process_state.h"

#include <sys/wait.h>
#include <unistd.h>

namespace enodia {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class WatchdogDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(WatchdogDeathTest, EndsAProcessThatShowsNoSignOfLife) {
  const auto hang = [] {
    const auto world = make_single_rank_communicator();
    SectionTimeouts timeouts;  // other sections are not watched
    timeouts[RunSection::kStep] = seconds(1);
    Watchdog watchdog(*world, timeouts);
    watchdog.board().enter(RunSection::kStep, 12);
    watchdog.board().wait_for({Traffic::kReplicas, OperationKind::kExchange, 4, 64});
    while (true) {
      std::this_thread::sleep_for(seconds(100));
    }
  };
  EXPECT_EXIT(hang(),
              ::testing::ExitedWithCode(7),
              "enodia: rank 0 of 1 has shown no sign of life for 1 s in step 12, where it waits in "
              "replicas exchange 4(.|\n)*"
              "\\[rank 0\\] the main thread is in(.|\n)*nanosleep");
}

TEST_F(WatchdogDeathTest, LeavesAloneWhatLivesAndWhatIsNotWatched) {
  const auto live = [] {
    const auto world = make_single_rank_communicator();
    SectionTimeouts timeouts;
    timeouts[RunSection::kStep] = seconds(2);
    Watchdog watchdog(*world, timeouts);
    watchdog.board().enter(RunSection::kStep, 1);
    for (int i = 0; i < 150; ++i) {
      watchdog.board().beat();
      std::this_thread::sleep_for(milliseconds(20));
    }
    watchdog.set_timeouts(SectionTimeouts::all(seconds(0)));
    std::this_thread::sleep_for(milliseconds(2500));
    std::_Exit(0);
  };
  EXPECT_EXIT(live(), ::testing::ExitedWithCode(0), "");
}

std::vector<std::string> where_a_sleeping_thread_is(milliseconds patience) {
  std::atomic<StackCapture*> capture = nullptr;
  std::atomic<bool> done = false;
  std::thread thread([&] {
    StackCapture own;
    capture = &own;
    while (!done) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  while (capture == nullptr) {
    std::this_thread::yield();
  }
  std::vector<std::string> names = capture.load()->take(patience);
  done = true;
  thread.join();
  return names;
}

TEST(StackCapture, SaysWhereAnotherThreadIs) {
  std::vector<std::string> names;
  // ThreadSanitizer loses a signal that arrives before the thread has come to its sleep.
  for (int attempt = 0; attempt < 30 && names.empty(); ++attempt) {
    names = where_a_sleeping_thread_is(seconds(2));
  }
  EXPECT_THAT(names, ::testing::Contains(::testing::HasSubstr("collectives_test")));
}

TEST(ProcessState, KnowsWhoRunsWhoIsStoppedAndWhoIsGone) {
  EXPECT_EQ(state_of(::getpid()), ProcessState::kRuns);
  const pid_t child = ::fork();
  if (child == 0) {
    while (true) {
      ::pause();
    }
  }
  EXPECT_EQ(state_of(child), ProcessState::kRuns);
  ::kill(child, SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  EXPECT_EQ(state_of(child), ProcessState::kStopped);
  ::kill(child, SIGKILL);
  siginfo_t info = {};
  ASSERT_EQ(::waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(state_of(child), ProcessState::kGone) << "not reaped yet";
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(state_of(child), ProcessState::kGone);
}

}  // namespace
}  // namespace enodia
