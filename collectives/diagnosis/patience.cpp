#include "collectives/diagnosis/patience.h"

#include <utility>

namespace enodia {

Patience::Patience(std::chrono::milliseconds limit, std::function<void(const std::string&)> give_up)
    : thread_([this, limit, give_up = std::move(give_up)] { watch(limit, give_up); }) {}

Patience::~Patience() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Patience::expect(std::string stage) {
  {
    const std::lock_guard lock(mutex_);
    stage_ = std::move(stage);
    ++stages_;
  }
  changed_.notify_all();
}

void Patience::watch(std::chrono::milliseconds limit,
                     const std::function<void(const std::string&)>& give_up) {
  std::unique_lock lock(mutex_);
  while (!over_) {
    const int64_t stages = stages_;
    const bool moved = changed_.wait_for(lock, limit, [&] { return over_ || stages_ != stages; });
    if (!moved && !stage_.empty()) {
      const std::string stage = stage_;
      lock.unlock();
      give_up(stage);
      return;
    }
  }
}

}  // namespace enodia
