#pragma once

#include <cstddef>
#include <memory>

#include "collectives/queue.h"

namespace enodia {

/// A point in the work of a queue, for whoever comes after it. Given back when its last copy goes.
class QueueEvent {
 public:
  QueueEvent() = default;  ///< already done
  /// After everything that was queued on `queue` so far.
  explicit QueueEvent(const Queue& queue);

  bool done() const;
  /// What is queued on `queue` later starts after the event. Blocks the host when `queue` is the
  /// host's or of another kind than the event's.
  void wait(const Queue& queue) const;
  /// Blocks the host until the event is done.
  void synchronize() const;

 private:
  const QueueTable* table_ = nullptr;
  std::shared_ptr<void> event_;
};

/// Memory of the queue's device, given back in order of the queue, which must live until then.
std::shared_ptr<void> allocate(const Queue& queue, size_t bytes);

/// What is queued on `after` later starts after all that `before` has to do now. Blocks the host as
/// QueueEvent::wait does; does nothing when both are the same queue.
void wait_between(const Queue& before, const Queue& after);

/// Whether it is the host's, where everything queued is done at once.
bool is_host(const Queue& queue);

}  // namespace enodia
