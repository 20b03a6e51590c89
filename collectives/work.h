#pragma once

#include <memory>
#include <vector>

#include "collectives/buffer.h"
#include "collectives/queue.h"

namespace enodia {

/// What a backend knows of an operation under way.
class PendingOperation {
 public:
  virtual ~PendingOperation() = default;
  /// Blocks until the result may be seen by `queue`. Throws CommError. Called at most once.
  virtual void wait(const Queue& queue) = 0;
  /// True when wait() would not block. May drive progress.
  virtual bool done() = 0;
};

/// An operation under way. Move-only; keeps the operation's buffers alive. Wait exactly once, or
/// let the destructor wait: it logs what goes wrong and never throws. While an exception unwinds it
/// waits a tenth of a second only, since the peers may never come and the error must be heard; then
/// the operation and what its buffers keep live on for ever, as a late message may still be
/// written.
class [[nodiscard]] Work {
 public:
  Work() = default;  ///< already done
  explicit Work(std::unique_ptr<PendingOperation> operation, std::vector<Buffer> buffers = {})
      : operation_(std::move(operation)),
        buffers_(std::move(buffers)) {}
  Work(Work&&) noexcept = default;
  Work& operator=(Work&& other) noexcept;
  ~Work();

  void wait(const Queue& queue = Queue());
  bool done() const;

 private:
  void finish() noexcept;
  std::unique_ptr<PendingOperation> operation_;
  std::vector<Buffer> buffers_;
};

}  // namespace enodia
