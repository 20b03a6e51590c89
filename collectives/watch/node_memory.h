#pragma once

#include <cstddef>
#include <string>

#include "collectives/communicator.h"

namespace enodia {

/// Zeroed memory that the ranks of a node share. It has no name in any file system, so nothing is
/// left behind however the processes end.
class NodeMemory {
 public:
  /// `bytes` is the same on all ranks of a node. Collective over the world. Where a rank cannot
  /// reach the memory of its node's first rank (another container, say) it gets some of its own.
  NodeMemory(Communicator& world, size_t bytes);
  ~NodeMemory();
  NodeMemory(const NodeMemory&) = delete;
  NodeMemory& operator=(const NodeMemory&) = delete;

  void* data() const { return data_; }
  /// Why this rank is alone with its memory; empty = it is shared.
  const std::string& why_alone() const { return why_alone_; }

 private:
  void* data_ = nullptr;
  size_t bytes_;
  std::string why_alone_;
};

}  // namespace enodia
