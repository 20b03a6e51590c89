#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/progress/queued_operation.h"
#include "collectives/traffic.h"
#include "common/trace.h"

namespace enodia {

/// The operations of one communicator, in the order in which they were asked for. A stage starts
/// when all stages before it have started, so every rank starts them in one order.
class Lane {
 public:
  explicit Lane(Traffic traffic) : traffic_(traffic) {}
  Traffic traffic() const { return traffic_; }
  void add(std::shared_ptr<QueuedOperation> operation);
  bool is_idle() const { return waiting_.empty() && under_way_.empty(); }
  /// Whether somebody waits for one of its operations.
  bool is_awaited() const;
  /// Finishes what is done and starts what may start, with at most `window` stages under way.
  /// Returns whether anything happened. Operations that are complete are added to `completed`.
  bool advance(int window, std::vector<std::shared_ptr<QueuedOperation>>& completed);

 private:
  struct Flight {
    std::shared_ptr<QueuedOperation> operation;
    int stage;
    Work work;
  };
  bool land(std::vector<std::shared_ptr<QueuedOperation>>& completed);
  bool take_off(int window, std::vector<std::shared_ptr<QueuedOperation>>& completed);

  Traffic traffic_;
  std::deque<std::shared_ptr<QueuedOperation>> waiting_;  // the first may have stages under way
  std::vector<Flight> under_way_;
};

/// The one thread of a process that makes the calls of the communicators it has taken over, so that
/// messages move while the others compute. Each communicator is a FIFO; between them urgent traffic
/// goes first: less urgent operations keep one chunk under way, never none, since another rank may
/// be waiting for just these. Asleep when there is nothing to do; while operations are under way it
/// looks at them every `pause`, and `eager_looks` times without one when somebody waits.
///
/// After the first take_over nobody else may call into the library behind the communicators (MPI at
/// level SERIALIZED) until this object is gone.
class CommunicationThread {
 public:
  struct Options {
    int64_t chunk_bytes = int64_t{1} << 20;  ///< of a message, or of a reduction
    int chunks_under_way = 4;                ///< of a communicator, when nothing is more urgent
    Trace* trace = nullptr;                  ///< gets a kCommunication span for each operation
    /// How long messages lie about while nobody waits for them: short beside a layer's compute,
    /// long beside a look at them.
    std::chrono::microseconds pause{50};
    int eager_looks = 100;  ///< then whoever is to send needs the core more
  };
  CommunicationThread() : CommunicationThread(Options()) {}
  explicit CommunicationThread(const Options& options);
  /// Ends when everything is done; when an exception is on its way, at once: what is unfinished is
  /// abandoned then, since the job is about to end. The communicators must be gone before.
  ~CommunicationThread();
  CommunicationThread(const CommunicationThread&) = delete;
  CommunicationThread& operator=(const CommunicationThread&) = delete;

  /// A communicator with the same ranks whose operations are carried out by this thread.
  std::unique_ptr<Communicator> take_over(std::unique_ptr<Communicator> inner, Traffic traffic);

  /// Processor time that the thread has used so far, in seconds.
  double processor_seconds() const;

 private:
  friend class ThreadedCommunicator;
  friend class ThreadedOperation;
  struct State;

  Lane& add_lane(Traffic traffic);
  void remove_lane(Lane& lane);
  void submit(Lane& lane, std::shared_ptr<QueuedOperation> operation);
  void wait(QueuedOperation& operation);
  /// Runs `call` on the thread and waits for it; rethrows. For what is done at start-up and at the
  /// end.
  void run_on_thread(const std::function<void()>& call);

  void loop();
  bool advance();
  bool advance(Lane& lane, int window);
  void rest(int looks);
  bool take_submissions();

  const Options options_;
  const int exceptions_;  // in flight when the thread was started
  std::mutex mutex_;
  std::condition_variable wakeup_;
  std::vector<std::pair<Lane*, std::shared_ptr<QueuedOperation>>> submitted_;
  std::deque<std::function<void()>> calls_;
  bool news_ = false;  // something was submitted, or somebody began to wait
  bool stopping_ = false, abandoning_ = false;
  std::atomic<int> waiters_ = 0;
  std::vector<std::unique_ptr<Lane>> lanes_;  // by urgency; changed by the thread alone
  std::thread thread_;
};

}  // namespace enodia
