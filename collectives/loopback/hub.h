#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/queue_event.h"
#include "common/error.h"

namespace enodia {

/// Thrown to ranks whose operation cannot finish because of another rank's failure.
class LoopbackEcho : public CommError {
 public:
  using CommError::CommError;
};

/// One rank's exchange. All fields but `owner` are guarded by the hub's mutex.
struct LoopbackOperation {
  int owner = 0;                   ///< global rank
  int64_t unsettled = 0;           ///< messages whose copy is not finished
  int64_t copying = 0;             ///< of these, messages that a thread is copying now
  std::string failure;             ///< this operation's own fault, empty = none
  std::vector<QueueEvent> copies;  ///< of device memory, queued; complete once all is settled
};

/// Where the ranks of a loopback world meet. A message is copied straight from the sender's memory
/// into the receiver's by whichever of the two comes second; so nobody's progress is needed but the
/// two posts, and no rank ever polls. One mutex guards everything but the copies.
///
/// Device memory is copied on a queue of its side, the second to come's if both have one, after
/// what both queues had to do when the exchanges were posted; the copy is queued, not done, when
/// the operation is settled.
class LoopbackHub {
 public:
  struct Group;

  explicit LoopbackHub(int world_size);
  ~LoopbackHub();

  /// The group with this id, made by whoever asks first; `members` are global ranks.
  Group& group(int64_t id, std::span<const int> members);
  /// Ids for `count` new groups: the first of them.
  int64_t reserve_groups(int count);

  /// Posts one rank's messages to others; copies those that can be matched at once. `own` is done
  /// when the messages to oneself are copied.
  std::shared_ptr<LoopbackOperation> post(Group& group,
                                          int rank,
                                          std::span<const Message> sends,
                                          std::span<const Message> receives,
                                          const Queue& queue,
                                          const QueueEvent& own);
  /// Blocks until the operation is settled; throws its failure or a LoopbackEcho. Copies of device
  /// memory are before what `queue` does next.
  void wait(const LoopbackOperation& operation, const Queue& queue);
  bool done(const LoopbackOperation& operation);

  /// All operations that are not finished, and all later ones, throw a LoopbackEcho with `why`.
  void poison(const std::string& why);
  /// Global rank `rank` makes no further calls; whoever waits for it would wait for ever.
  void leave(int rank);

 private:
  struct Posted;
  struct Mailbox;
  struct Pair;

  void post_one(Group& group, int sender, int receiver, Posted posted, std::vector<Pair>& pairs);
  void match(int sender, int receiver, Pair pair, std::vector<Pair>& pairs);
  void copy(const Pair& pair, const Queue& queue);
  QueueEvent copy_on_device(const Pair& pair, const Queue& queue);
  void poison_locked(const std::string& why);
  bool settled(const LoopbackOperation& operation) const;

  std::mutex mutex_;
  std::vector<std::condition_variable> wakeups_;  // one for each global rank
  std::vector<bool> left_;
  std::map<int64_t, std::unique_ptr<Group>> groups_;
  int64_t next_group_ = 1;
  std::string poison_;
};

}  // namespace enodia
