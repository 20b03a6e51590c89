#include "collectives/queue_event.h"

#include <exception>
#include <string>

#include "common/log.h"

namespace enodia {

QueueEvent::QueueEvent(const Queue& queue) : table_(&queue.table()) {
  void* event = table_->record(queue.handle());
  if (event != nullptr) {
    event_ = std::shared_ptr<void>(event, table_->release);
  }
}

bool QueueEvent::done() const {
  return event_ == nullptr || table_->done(event_.get());
}

void QueueEvent::wait(const Queue& queue) const {
  if (event_ == nullptr) {
    return;
  }
  if (&queue.table() == table_) {
    table_->wait(queue.handle(), event_.get());
  } else {
    table_->synchronize(event_.get());
  }
}

void QueueEvent::synchronize() const {
  if (event_ != nullptr) {
    table_->synchronize(event_.get());
  }
}

std::shared_ptr<void> allocate(const Queue& queue, size_t bytes) {
  return std::shared_ptr<void>(queue.table().alloc(queue.handle(), bytes), [queue](void* memory) {
    try {
      queue.table().free(queue.handle(), memory);
    } catch (const std::exception& error) {
      log_error(std::string("memory of a device could not be given back: ") + error.what());
    }
  });
}

void wait_between(const Queue& before, const Queue& after) {
  if (&before.table() != &after.table() || before.handle() != after.handle()) {
    QueueEvent(before).wait(after);
  }
}

bool is_host(const Queue& queue) {
  return &queue.table() == &host_queue_table();
}

}  // namespace enodia
