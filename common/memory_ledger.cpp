#include "common/memory_ledger.h"

#include <algorithm>
#include <utility>

namespace enodia {
namespace {

constexpr std::array<std::string_view, kNumMemoryKinds> kKindNames{
    "parameters", "gradients", "optimizer", "replicas", "data", "activations"};

/// The allocator is called by LibTorch, through which no argument of ours can be passed.
MemoryKind& kind_of_this_thread() {
  static thread_local MemoryKind kind = MemoryKind::kActivations;
  return kind;
}

}  // namespace

std::string_view name_of(MemoryKind kind) {
  return kKindNames.at(static_cast<size_t>(kind));
}

MemoryScope::MemoryScope(MemoryKind kind) : outer_(std::exchange(kind_of_this_thread(), kind)) {}

MemoryScope::~MemoryScope() {
  kind_of_this_thread() = outer_;
}

MemoryKind MemoryScope::current() {
  return kind_of_this_thread();
}

void MemoryLedger::add(MemoryKind kind, int64_t bytes) {
  const auto index = static_cast<size_t>(kind);
  const std::lock_guard lock(mutex_);
  use_.current[index] += bytes;
  use_.total += bytes;
  use_.peak[index] = std::max(use_.peak[index], use_.current[index]);
  use_.peak_total = std::max(use_.peak_total, use_.total);
}

void MemoryLedger::remove(MemoryKind kind, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  use_.current[static_cast<size_t>(kind)] -= bytes;
  use_.total -= bytes;
}

void MemoryLedger::restart_peaks() {
  const std::lock_guard lock(mutex_);
  use_.peak = use_.current;
  use_.peak_total = use_.total;
}

MemoryUse MemoryLedger::use() const {
  const std::lock_guard lock(mutex_);
  return use_;
}

}  // namespace enodia
