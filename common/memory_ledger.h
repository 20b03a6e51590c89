#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>

namespace enodia {

/// What memory of tensors is used for.
enum class MemoryKind : uint8_t {
  kParameters,   ///< masters: what is computed with
  kGradients,    ///< of parameters, on their owners
  kOptimizer,    ///< moments
  kReplicas,     ///< experts' further homes: weights and gradients
  kData,         ///< tokens and labels
  kActivations,  ///< and temporaries: all that is allocated outside any MemoryScope
};
constexpr size_t kNumMemoryKinds = 6;

/// "parameters", as in metrics.jsonl.
std::string_view name_of(MemoryKind kind);

/// While it lives, tensors that this thread makes count as `kind`, to their ends. Scopes nest; as
/// with LibTorch's grad mode what is in force belongs to a thread, and workers start outside any.
class MemoryScope {
 public:
  explicit MemoryScope(MemoryKind kind);
  ~MemoryScope();
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

  static MemoryKind current();

 private:
  MemoryKind outer_;
};

/// Bytes by kind at one moment, and the most there were.
struct MemoryUse {
  using ByKind = std::array<int64_t, kNumMemoryKinds>;
  ByKind current{}, peak{};
  int64_t total = 0, peak_total = 0;  ///< of all kinds together; peaks of kinds may lie apart
};

/// Counts the bytes that are given out and given back. Any thread may call.
class MemoryLedger {
 public:
  void add(MemoryKind kind, int64_t bytes);
  /// `kind` is the one that the bytes were added under.
  void remove(MemoryKind kind, int64_t bytes);
  /// Peaks count from here.
  void restart_peaks();
  MemoryUse use() const;

 private:
  mutable std::mutex mutex_;
  MemoryUse use_;
};

}  // namespace enodia
