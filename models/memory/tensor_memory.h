#pragma once

#include "common/memory_ledger.h"

namespace enodia {

/// From now on large CPU tensors of this process live in a BlockPool that is never unmapped, small
/// ones stay with LibTorch's allocator, and all are counted by MemoryKind. Local. Call at most
/// once, at start-up, before other threads make tensors; tensors made before stay valid, uncounted.
void keep_tensors_in_block_pool();

/// The counts of this process's CPU tensors, in the bytes that were asked for; null before
/// keep_tensors_in_block_pool.
MemoryLedger* tensor_memory();

}  // namespace enodia
