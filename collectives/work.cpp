#include "collectives/work.h"

#include <chrono>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "common/log.h"

namespace enodia {
namespace {

/// Long enough for what is on its way; whoever is further behind waits in vain anyway.
constexpr std::chrono::milliseconds kPatience{100};

bool is_done_soon(PendingOperation& operation) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!operation.done()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// Never destroyed: the process is about to end, and nobody knows what is still written where.
void keep_for_ever(std::unique_ptr<PendingOperation> operation, std::vector<Buffer> buffers) {
  static std::mutex mutex;
  static auto& kept =
      *new std::vector<std::pair<std::unique_ptr<PendingOperation>, std::vector<Buffer>>>();
  const std::lock_guard lock(mutex);
  kept.emplace_back(std::move(operation), std::move(buffers));
}

}  // namespace

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
    if (operation_ != nullptr && std::uncaught_exceptions() > 0 && !is_done_soon(*operation_)) {
      keep_for_ever(std::move(operation_), std::move(buffers_));
      return;
    }
    wait();
  } catch (const std::exception& error) {
    log_error(std::string("an operation that nobody waited for failed: ") + error.what());
  }
}

}  // namespace enodia
