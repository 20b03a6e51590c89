#pragma once

namespace enodia {

/// From now on large CPU tensors of this process live in a BlockPool that is never unmapped; small
/// ones stay with LibTorch's allocator. Local. Call at most once, at start-up, before other threads
/// make tensors; tensors made before stay valid.
void keep_tensors_in_block_pool();

}  // namespace enodia
