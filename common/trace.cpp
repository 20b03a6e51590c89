#include "common/trace.h"

#include <utility>

namespace enodia {

bool Trace::is_on() const {
  const std::lock_guard lock(mutex_);
  return on_;
}

void Trace::switch_on() {
  const std::lock_guard lock(mutex_);
  on_ = true;
}

std::vector<TraceSpan> Trace::take() {
  const std::lock_guard lock(mutex_);
  on_ = false;
  return std::exchange(spans_, {});
}

void Trace::add(TraceSpan span) {
  const std::lock_guard lock(mutex_);
  if (on_) {
    spans_.push_back(std::move(span));
  }
}

ScopedSpan::~ScopedSpan() {
  if (trace_ != nullptr) {
    span_.end = TraceSpan::Clock::now();
    trace_->add(std::move(span_));
  }
}

}  // namespace enodia
