#include "collectives/progress/communication_thread.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <future>
#include <optional>
#include <string>
#include <utility>

#include "collectives/progress/threaded_communicator.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>

namespace enodia {
namespace {

using Operations = std::vector<std::shared_ptr<QueuedOperation>>;

}  // namespace

void Lane::add(std::shared_ptr<QueuedOperation> operation) {
  waiting_.push_back(std::move(operation));
}

bool Lane::advance(int window, Operations& completed) {
  const bool landed = land(completed);
  return take_off(window, completed) || landed;
}

bool Lane::is_awaited() const {
  return std::any_of(
             waiting_.begin(), waiting_.end(), [](const auto& o) { return o->is_awaited(); }) ||
         std::any_of(under_way_.begin(), under_way_.end(), [](const auto& flight) {
           return flight.operation->is_awaited();
         });
}

bool Lane::land(Operations& completed) {
  bool any = false;
  for (size_t i = 0; i < under_way_.size();) {
    if (!under_way_[i].work.done()) {
      ++i;
      continue;
    }
    Flight flight = std::move(under_way_[i]);
    under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(i));
    flight.operation->finish(flight.stage, flight.work);
    completed.push_back(std::move(flight.operation));  // perhaps
    any = true;
  }
  return any;
}

bool Lane::take_off(int window, Operations& completed) {
  bool any = false;
  while (!waiting_.empty()) {
    const std::shared_ptr<QueuedOperation> operation = waiting_.front();
    if (operation->all_started()) {
      completed.push_back(operation);  // perhaps
      waiting_.pop_front();
      any = true;
      continue;
    }
    if (static_cast<int>(under_way_.size()) >= window || !operation->can_start()) {
      break;
    }
    Work work;
    if (const std::optional<int> stage = operation->start(work)) {
      under_way_.push_back({operation, *stage, std::move(work)});
    }
    any = true;
  }
  return any;
}

CommunicationThread::CommunicationThread(const Options& options)
    : options_(options),
      exceptions_(std::uncaught_exceptions()),
      thread_([this] { loop(); }) {}

CommunicationThread::~CommunicationThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    abandoning_ = std::uncaught_exceptions() > exceptions_;
    news_ = true;
  }
  wakeup_.notify_one();
  thread_.join();
  if (abandoning_) {
    // Never destroyed: the destructors of works under way would wait for ranks that wait for us.
    for (std::unique_ptr<Lane>& lane : lanes_) {
      static_cast<void>(lane.release());
    }
  }
}

std::unique_ptr<Communicator> CommunicationThread::take_over(std::unique_ptr<Communicator> inner,
                                                             Traffic traffic) {
  return std::make_unique<ThreadedCommunicator>(*this, std::move(inner), traffic);
}

double CommunicationThread::processor_seconds() const {
  clockid_t clock{};
  timespec time{};
  const auto handle = const_cast<std::thread&>(thread_).native_handle();
  if (::pthread_getcpuclockid(handle, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
    return 0;
  }
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

Lane& CommunicationThread::add_lane(Traffic traffic) {
  auto lane = std::make_unique<Lane>(traffic);
  Lane& added = *lane;
  run_on_thread([&] {
    const auto place = std::find_if(lanes_.begin(), lanes_.end(), [&](const auto& other) {
      return other->traffic() > traffic;
    });
    lanes_.insert(place, std::move(lane));
  });
  return added;
}

void CommunicationThread::remove_lane(Lane& lane) {
  run_on_thread([&] {
    const auto place =
        std::find_if(lanes_.begin(), lanes_.end(), [&](const auto& l) { return l.get() == &lane; });
    if ((*place)->is_idle()) {
      lanes_.erase(place);
    }  // else an exception is on its way; see the destructor
  });
}

void CommunicationThread::submit(Lane& lane, std::shared_ptr<QueuedOperation> operation) {
  {
    const std::lock_guard lock(mutex_);
    submitted_.emplace_back(&lane, std::move(operation));
    news_ = true;
  }
  wakeup_.notify_one();
}

void CommunicationThread::wait(QueuedOperation& operation) {
  struct Waiter {
    explicit Waiter(std::atomic<int>& waiters) : count(waiters) { ++count; }
    ~Waiter() { --count; }
    std::atomic<int>& count;
  };
  if (operation.done()) {
    return operation.wait();
  }
  const Waiter waiter(waiters_);
  {
    const std::lock_guard lock(mutex_);
    news_ = true;
  }
  wakeup_.notify_one();
  operation.wait();
}

void CommunicationThread::run_on_thread(const std::function<void()>& call) {
  std::packaged_task<void()> task(call);
  std::future<void> outcome = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    calls_.emplace_back([&task] { task(); });
    news_ = true;
  }
  wakeup_.notify_one();
  outcome.get();
}

void CommunicationThread::loop() {
  ::prctl(PR_SET_TIMERSLACK, 1000);  // nanoseconds; the default would double the pause
  int looks = 0;                     // since something happened
  while (take_submissions()) {
    looks = advance() ? 0 : looks + 1;
    if (looks > 0) {
      rest(looks);
    }
  }
}

/// Returns false when the thread is to end. Sleeps while there is nothing to do.
bool CommunicationThread::take_submissions() {
  std::unique_lock lock(mutex_);
  const auto idle = [this] {
    return std::all_of(lanes_.begin(), lanes_.end(), [](const auto& l) { return l->is_idle(); });
  };
  while (true) {
    news_ = false;
    for (auto& [lane, operation] : submitted_) {
      lane->add(std::move(operation));
    }
    submitted_.clear();
    while (!calls_.empty()) {
      const std::function<void()> call = std::move(calls_.front());
      calls_.pop_front();
      lock.unlock();
      call();
      lock.lock();
    }
    if (abandoning_) {
      return false;
    }
    if (!submitted_.empty()) {
      continue;
    }
    if (!idle()) {
      return true;
    }
    if (stopping_) {
      return false;
    }
    wakeup_.wait(lock, [this] { return news_; });
  }
}

/// One look at every lane, at those first for which somebody waits. Returns whether anything
/// happened.
bool CommunicationThread::advance() {
  bool any = false;
  bool something_is_more_urgent = false;
  for (const bool awaited : {true, false}) {
    for (const std::unique_ptr<Lane>& lane : lanes_) {
      if (!lane->is_idle() && lane->is_awaited() == awaited) {
        any |= advance(*lane, something_is_more_urgent ? 1 : options_.chunks_under_way);
        something_is_more_urgent |= !lane->is_idle();
      }
    }
  }
  return any;
}

bool CommunicationThread::advance(Lane& lane, int window) {
  Operations completed;
  const bool any = lane.advance(window, completed);
  for (const std::shared_ptr<QueuedOperation>& operation : completed) {
    if (operation->complete_if_settled() && options_.trace != nullptr) {
      options_.trace->add({TraceTrack::kCommunication,
                           std::string(name_of(lane.traffic())) + " " + operation->name() + " " +
                               std::to_string(operation->sequence()),
                           operation->started_at(),
                           TraceSpan::Clock::now()});
    }
  }
  return any;
}

void CommunicationThread::rest(int looks) {
  if (waiters_.load(std::memory_order_relaxed) > 0 && looks < options_.eager_looks) {
    std::this_thread::yield();  // more ranks than cores are ordinary
    return;
  }
  std::unique_lock lock(mutex_);
  wakeup_.wait_for(lock, options_.pause, [this] { return news_; });
}

}  // namespace enodia
