#include "collectives/loopback/hub.h"

#include <algorithm>
#include <utility>

#include "collectives/backend.h"

namespace enodia {

/// One side of a message that waits for the other.
struct LoopbackHub::Posted {
  Buffer buffer;
  std::shared_ptr<LoopbackOperation> operation;
  bool is_send;
  Queue queue;       // that the exchange comes after
  QueueEvent ready;  // what the queue had to do before it
  bool on_device() const { return buffer.device >= 0; }
};

/// The messages from one rank to another in order; at most one of the queues is not empty.
struct LoopbackHub::Mailbox {
  std::deque<Posted> sends;
  std::deque<Posted> receives;
  bool empty() const { return sends.empty() && receives.empty(); }
};

struct LoopbackHub::Pair {
  Posted send;
  Posted receive;
};

struct LoopbackHub::Group {
  std::vector<int> members;  // group rank -> global rank
  std::vector<Mailbox> mailboxes;
  Mailbox& mailbox(int sender, int receiver) {
    return mailboxes[sender * members.size() + receiver];
  }
};

LoopbackHub::LoopbackHub(int world_size) : wakeups_(world_size), left_(world_size, false) {}
LoopbackHub::~LoopbackHub() = default;

LoopbackHub::Group& LoopbackHub::group(int64_t id, std::span<const int> members) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Group>& group = groups_[id];
  if (group == nullptr) {
    group = std::make_unique<Group>();
    group->members.assign(members.begin(), members.end());
    group->mailboxes.resize(members.size() * members.size());
  }
  return *group;
}

int64_t LoopbackHub::reserve_groups(int count) {
  const std::lock_guard lock(mutex_);
  return std::exchange(next_group_, next_group_ + count);
}

std::shared_ptr<LoopbackOperation> LoopbackHub::post(Group& group,
                                                     int rank,
                                                     std::span<const Message> sends,
                                                     std::span<const Message> receives,
                                                     const Queue& queue,
                                                     const QueueEvent& own) {
  auto operation = std::make_shared<LoopbackOperation>();
  operation->owner = group.members[rank];
  operation->copies.push_back(own);
  const QueueEvent ready = is_host(queue) ? QueueEvent() : QueueEvent(queue);
  // The Work keeps the memory alive. If this did too, a peer's thread might give it back, later.
  const auto posted = [&](Buffer buffer, bool is_send) {
    buffer.keep.reset();
    return Posted{std::move(buffer), operation, is_send, queue, ready};
  };
  std::vector<Pair> pairs;
  {
    const std::lock_guard lock(mutex_);
    for (const Message& message : receives) {
      if (message.peer != rank) {
        post_one(group, message.peer, rank, posted(message.buffer, false), pairs);
      }
    }
    for (const Message& message : sends) {
      if (message.peer != rank) {
        post_one(group, rank, message.peer, posted(message.buffer, true), pairs);
      }
    }
    if (!poison_.empty() && operation->failure.empty() && pairs.empty()) {
      throw LoopbackEcho(poison_);
    }
  }
  for (const Pair& pair : pairs) {
    copy(pair, queue);
  }
  return operation;
}

void LoopbackHub::post_one(
    Group& group, int sender, int receiver, Posted posted, std::vector<Pair>& pairs) {
  ++posted.operation->unsettled;
  if (!poison_.empty()) {
    return;  // the operation can no longer settle: wait() throws
  }
  Mailbox& box = group.mailbox(sender, receiver);
  std::deque<Posted>& others = posted.is_send ? box.receives : box.sends;
  const int peer = group.members[posted.is_send ? receiver : sender];
  if (!others.empty()) {
    Posted other = std::move(others.front());
    others.pop_front();
    Pair pair = posted.is_send ? Pair{std::move(posted), std::move(other)}
                               : Pair{std::move(other), std::move(posted)};
    match(sender, receiver, std::move(pair), pairs);
  } else if (left_[peer]) {
    poison_locked("rank " + std::to_string(peer) + " has ended, but rank " +
                  std::to_string(posted.operation->owner) + " exchanges messages with it");
  } else {
    (posted.is_send ? box.sends : box.receives).push_back(std::move(posted));
  }
}

void LoopbackHub::match(int sender, int receiver, Pair pair, std::vector<Pair>& pairs) {
  if (!fit(pair.send.buffer, pair.receive.buffer)) {
    const std::string text =
        describe_mismatch(sender, pair.send.buffer, receiver, pair.receive.buffer);
    pair.send.operation->failure = text;
    pair.receive.operation->failure = text;
    poison_locked(text);
    return;
  }
  ++pair.send.operation->copying;
  ++pair.receive.operation->copying;
  pairs.push_back(std::move(pair));
}

// Outside the lock. Both operations count the message as copying, so neither side's memory is given
// back before, even when the world is poisoned meanwhile.
void LoopbackHub::copy(const Pair& pair, const Queue& queue) {
  const auto bytes = static_cast<size_t>(pair.send.buffer.bytes());
  const bool on_device = bytes > 0 && (pair.send.on_device() || pair.receive.on_device());
  QueueEvent copied;
  if (on_device) {
    copied = copy_on_device(pair, queue);
  } else {
    queue.copy(pair.receive.buffer.data, pair.send.buffer.data, bytes);
    synchronize(queue);
  }
  const std::lock_guard lock(mutex_);
  for (const Posted* side : {&pair.send, &pair.receive}) {
    LoopbackOperation& operation = *side->operation;
    if (on_device) {
      operation.copies.push_back(copied);
    }
    --operation.copying;
    --operation.unsettled;
    if (settled(operation)) {
      wakeups_[operation.owner].notify_all();
    }
  }
}

// On the queue of the one who comes second, when its memory is a device's: its own thread queues
// there. Otherwise on the other's.
QueueEvent LoopbackHub::copy_on_device(const Pair& pair, const Queue& queue) {
  const Posted& second = pair.send.queue.handle() == queue.handle() ? pair.send : pair.receive;
  const Posted& first = &second == &pair.send ? pair.receive : pair.send;
  const Queue& on = second.on_device() ? second.queue : first.queue;
  for (const Posted* side : {&first, &second}) {
    if (side->queue.handle() != on.handle()) {
      side->ready.wait(on);
    }
  }
  on.copy(pair.receive.buffer.data,
          pair.send.buffer.data,
          static_cast<size_t>(pair.send.buffer.bytes()));
  return QueueEvent(on);
}

void LoopbackHub::wait(const LoopbackOperation& operation, const Queue& queue) {
  std::unique_lock lock(mutex_);
  wakeups_[operation.owner].wait(lock, [&] { return settled(operation); });
  const std::string failure = operation.failure;
  const std::string echo = operation.unsettled > 0 ? poison_ : "";
  lock.unlock();
  for (const QueueEvent& copy : operation.copies) {
    copy.wait(failure.empty() && echo.empty() ? queue : Queue());
  }
  if (!failure.empty()) {
    throw CommError(failure);
  }
  if (!echo.empty()) {
    throw LoopbackEcho(echo);
  }
}

bool LoopbackHub::done(const LoopbackOperation& operation) {
  const std::lock_guard lock(mutex_);
  return settled(operation) && std::all_of(operation.copies.begin(),
                                           operation.copies.end(),
                                           [](const QueueEvent& copy) { return copy.done(); });
}

bool LoopbackHub::settled(const LoopbackOperation& operation) const {
  return operation.unsettled == 0 || (!poison_.empty() && operation.copying == 0);
}

void LoopbackHub::poison(const std::string& why) {
  const std::lock_guard lock(mutex_);
  poison_locked(why);
}

void LoopbackHub::poison_locked(const std::string& why) {
  if (!poison_.empty()) {
    return;
  }
  poison_ = "the loopback world has failed: " + why;
  for (const auto& [id, group] : groups_) {
    for (Mailbox& box : group->mailboxes) {
      box = Mailbox();
    }
  }
  for (std::condition_variable& wakeup : wakeups_) {
    wakeup.notify_all();
  }
}

void LoopbackHub::leave(int rank) {
  const std::lock_guard lock(mutex_);
  left_[rank] = true;
  for (const auto& [id, group] : groups_) {
    const int size = static_cast<int>(group->members.size());
    for (int local = 0; local < size; ++local) {
      for (int peer = 0; group->members[local] == rank && peer < size; ++peer) {
        if (!group->mailbox(local, peer).empty() || !group->mailbox(peer, local).empty()) {
          return poison_locked("rank " + std::to_string(rank) + " has ended, but rank " +
                               std::to_string(group->members[peer]) +
                               " exchanges messages with it");
        }
      }
    }
  }
}

}  // namespace enodia
