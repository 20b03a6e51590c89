#include "collectives/progress/queued_operation.h"

#include <utility>

namespace enodia {

QueuedOperation::QueuedOperation(std::vector<Stage> stages, const char* name, int64_t sequence)
    : stages_(std::move(stages)),
      finished_(stages_.size(), false),
      name_(name),
      sequence_(sequence) {}

void QueuedOperation::wait() {
  awaited_.store(true, std::memory_order_relaxed);
  state_.wait(kPending, std::memory_order_acquire);
  if (error_ != nullptr) {
    std::rethrow_exception(error_);
  }
}

bool QueuedOperation::can_start() const {
  if (all_started()) {
    return false;
  }
  const int before = stages_[next_].after;
  return before < 0 || finished_[before];
}

std::optional<int> QueuedOperation::start(Work& work) {
  if (next_ == 0) {
    started_at_ = TraceSpan::Clock::now();
  }
  const int stage = static_cast<int>(next_++);
  try {
    work = stages_[stage].start();
  } catch (...) {
    fail();
    return std::nullopt;
  }
  ++under_way_;
  return stage;
}

void QueuedOperation::finish(int stage, Work& work) {
  finished_[stage] = true;
  --under_way_;
  try {
    work.wait();
    if (error_ == nullptr && stages_[stage].finish) {
      stages_[stage].finish();
    }
  } catch (...) {
    fail();
  }
}

/// Nothing more is started; the first error counts.
void QueuedOperation::fail() {
  if (error_ == nullptr) {
    error_ = std::current_exception();
  }
  next_ = stages_.size();
}

bool QueuedOperation::complete_if_settled() {
  if (done() || !all_started() || under_way_ > 0) {
    return false;
  }
  stages_.clear();
  next_ = 0;  // all_started() still holds
  state_.store(kDone, std::memory_order_release);
  state_.notify_all();
  return true;
}

}  // namespace enodia
