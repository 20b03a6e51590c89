#include "collectives/watch/watchdog.h"

#include <algorithm>
#include <csignal>
#include <string_view>
#include <vector>

#include "collectives/watch/hang_report.h"
#include "common/error.h"

#include <unistd.h>

namespace enodia {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kInterval = std::chrono::milliseconds(250);
constexpr auto kPatience = std::chrono::seconds(2);              // for the others' last words
constexpr auto kNodePatience = std::chrono::milliseconds(1500);  // shorter, for other nodes' words
constexpr auto kPause = std::chrono::milliseconds(20);
constexpr unsigned kLastResort = 10;  // seconds in which stderr must take the report

/// The log may be locked by the thread that hangs, so this goes straight to stderr.
void print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) {
      return;
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

SectionTimeouts SectionTimeouts::all(std::chrono::seconds timeout) {
  SectionTimeouts timeouts;
  timeouts.seconds.fill(timeout);
  return timeouts;
}

Watchdog::Watchdog(Communicator& world, const SectionTimeouts& timeouts)
    : board_(world),
      network_(world, board_),
      rank_(world.rank()),
      timeouts_(timeouts) {
  sigset_t all = {}, before = {};
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the main thread
  thread_ = std::thread([this] { loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wakeup_.notify_one();
  thread_.join();
}

void Watchdog::set_timeouts(const SectionTimeouts& timeouts) {
  const std::lock_guard lock(mutex_);
  timeouts_ = timeouts;
}

void Watchdog::loop() {
  std::unique_lock lock(mutex_);
  uint64_t signs = 0;
  Clock::duration silence = Clock::duration::zero();
  Clock::time_point last = Clock::now();
  while (!wakeup_.wait_for(lock, kInterval, [&] { return stopping_; })) {
    const RankStatus own = board_.read(board_.own_slot());
    const Clock::time_point now = Clock::now();
    // A longer gap means that this thread did not run either: the process was stopped.
    silence = own.signs_of_life == signs
                  ? silence + std::min<Clock::duration>(now - last, 2 * kInterval)
                  : Clock::duration::zero();
    last = now;
    signs = own.signs_of_life;
    const std::chrono::seconds timeout = timeouts_[own.section];
    if ((timeout.count() > 0 && silence >= timeout) || board_.report_is_claimed()) {
      end_job(silence);
    }
  }
}

void Watchdog::end_job(Clock::duration silence) {
  // Should stderr not take the text (mpirun itself is stopped, say), the process ends even so.
  std::signal(SIGALRM, SIG_DFL);
  sigset_t alarm_only = {};
  ::sigemptyset(&alarm_only);
  ::sigaddset(&alarm_only, SIGALRM);
  ::pthread_sigmask(SIG_UNBLOCK, &alarm_only, nullptr);
  ::alarm(kLastResort);

  std::string text;
  if (board_.claim_report()) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(silence).count();
    text = "enodia: " +
           hang_report(observe(board_),
                       static_cast<size_t>(board_.own_slot()),
                       seconds,
                       board_.nodes(),
                       network_.ask(kNodePatience)) +
           "\n";
  } else {
    wait_for_first_speaker();
  }
  print(text + describe_stack());
  board_.add_speaker();
  wait_for_speakers();
  wait_for_other_nodes();
  ::_exit(static_cast<int>(ExitCode::kWatchdog));
}

std::string Watchdog::describe_stack() {
  constexpr size_t kMostFrames = 24;
  const std::string rank = "  [rank " + std::to_string(rank_) + "] ";
  const std::vector<std::string> frames = stack_.take(std::chrono::seconds(1));
  if (frames.empty()) {
    return rank + "the main thread does not say where it is\n";
  }
  std::string text = rank + "the main thread is in\n";
  for (size_t i = 0; i < std::min(frames.size(), kMostFrames); ++i) {
    text += rank + "  " + frames[i] + "\n";
  }
  return text;
}

/// The report stands before the stacks.
void Watchdog::wait_for_first_speaker() const {
  const auto deadline = Clock::now() + kPatience;
  while (board_.num_speakers() == 0 && Clock::now() < deadline) {
    std::this_thread::sleep_for(kPause);
  }
}

/// They find the same silence a little later, and ask this one.
void Watchdog::wait_for_other_nodes() const {
  const std::vector<int>& nodes = board_.nodes();
  if (std::any_of(nodes.begin(), nodes.end(), [&](int node) { return node != nodes[0]; })) {
    std::this_thread::sleep_for(kNodePatience);
  }
}

/// The first rank to leave ends the job, so it leaves the others time to speak.
void Watchdog::wait_for_speakers() const {
  const auto deadline = Clock::now() + kPatience;
  while (Clock::now() < deadline) {
    const std::vector<ObservedRank> ranks = observe(board_);
    const auto able = std::count_if(ranks.begin(), ranks.end(), [](const ObservedRank& rank) {
      return rank.process == ProcessState::kRuns;
    });
    if (board_.num_speakers() >= able) {
      return;
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace enodia
