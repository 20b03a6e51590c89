#pragma once

#include <cstddef>
#include <mutex>
#include <set>
#include <vector>

namespace enodia {

/// Memory for large tensors that come and go every step. Chunks are mapped once, aligned to 2 MB
/// with huge pages advised, and kept until the pool ends; blocks are cut from them by best fit and
/// grow together again when neighbors are free. So a step faults in no page after the first one: on
/// virtual machines the faults of fresh memory cost more than writing to it.
class BlockPool {
 public:
  /// A piece of a chunk; either free or given out.
  struct Block {
    BlockPool* pool;
    std::byte* data;
    size_t bytes;
    bool is_free;
    Block* previous;  ///< neighbors in the chunk, by address
    Block* next;
  };

  explicit BlockPool(size_t chunk_bytes = size_t{64} << 20);
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// A block of at least `bytes`, aligned to 64. Any thread may call. Throws std::bad_alloc.
  Block* allocate(size_t bytes);
  /// Gives a block back to its pool.
  void release(Block* block);

  size_t mapped_bytes() const;
  size_t used_bytes() const;

 private:
  struct Smaller {
    bool operator()(const Block* a, const Block* b) const {
      return a->bytes != b->bytes ? a->bytes < b->bytes : a->data < b->data;
    }
  };
  struct Chunk {
    void* mapping;
    size_t bytes;
  };

  Block* map_chunk(size_t at_least);
  void split(Block* block, size_t bytes);
  void absorb_next(Block* block);

  const size_t chunk_bytes_;
  mutable std::mutex mutex_;
  std::vector<Chunk> chunks_;
  std::set<Block*, Smaller> free_;
  size_t mapped_bytes_ = 0;
  size_t used_bytes_ = 0;
};

}  // namespace enodia
