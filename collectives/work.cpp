#include "collectives/work.h"

#include <exception>
#include <string>
#include <utility>

#include "common/log.h"

namespace enodia {

Work& Work::operator=(Work&& other) noexcept {
  if (this != &other) {
    finish();
    operation_ = std::move(other.operation_);
    buffers_ = std::move(other.buffers_);
  }
  return *this;
}

Work::~Work() {
  finish();
}

void Work::wait(const Queue& queue) {
  if (operation_ != nullptr) {
    // Moved out first: a failed wait must not be tried again by the destructor.
    const auto operation = std::exchange(operation_, nullptr);
    operation->wait(queue);
  }
  buffers_.clear();
}

bool Work::done() const {
  return operation_ == nullptr || operation_->done();
}

void Work::finish() noexcept {
  try {
    wait();
  } catch (const std::exception& error) {
    log_error(std::string("an operation that nobody waited for failed: ") + error.what());
  }
}

}  // namespace enodia
