#include "models/memory/block_pool.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace enodia {
namespace {

constexpr size_t kChunk = size_t{4} << 20;

TEST(BlockPool, BlocksAreAlignedAndHoldWhatWasAsked) {
  BlockPool pool(kChunk);
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4097}, kChunk, kChunk + 1, 3 * kChunk}) {
    BlockPool::Block* block = pool.allocate(bytes);
    EXPECT_GE(block->bytes, bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block->data) % 64, 0U);
    std::memset(block->data, 1, bytes);
    pool.release(block);
  }
  EXPECT_EQ(pool.used_bytes(), 0U);
}

TEST(BlockPool, ReleasedMemoryIsUsedAgain) {
  BlockPool pool(kChunk);
  BlockPool::Block* first = pool.allocate(kChunk / 2);
  const std::byte* data = first->data;
  pool.release(first);
  for (int i = 0; i < 100; ++i) {
    BlockPool::Block* block = pool.allocate(kChunk / 2);
    EXPECT_EQ(block->data, data);
    pool.release(block);
  }
  EXPECT_EQ(pool.mapped_bytes(), kChunk);
}

TEST(BlockPool, NeighborsGrowTogetherInAnyOrder) {
  for (const std::vector<size_t>& order :
       std::vector<std::vector<size_t>>{{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 2, 1, 3}, {1, 3, 0, 2}}) {
    BlockPool pool(kChunk);
    std::vector<BlockPool::Block*> blocks;
    for (int i = 0; i < 4; ++i) {
      blocks.push_back(pool.allocate(kChunk / 4));
    }
    for (const size_t i : order) {
      pool.release(blocks[i]);
    }
    pool.release(pool.allocate(kChunk));
    EXPECT_EQ(pool.mapped_bytes(), kChunk);
  }
}

TEST(BlockPool, TheSmallestFittingBlockIsCut) {
  BlockPool pool(kChunk);
  BlockPool::Block* large = pool.allocate(kChunk / 2);
  BlockPool::Block* wall = pool.allocate(kChunk / 8);
  BlockPool::Block* small = pool.allocate(kChunk / 8);
  BlockPool::Block* end = pool.allocate(kChunk / 4);
  const std::byte* expected = small->data;
  pool.release(large);
  pool.release(small);
  BlockPool::Block* block = pool.allocate(kChunk / 8);
  EXPECT_EQ(block->data, expected);
  for (BlockPool::Block* used : {wall, end, block}) {
    pool.release(used);
  }
}

TEST(BlockPool, RandomUseFromThreadsNeverOverlaps) {
  BlockPool pool(kChunk);
  const auto use = [&pool](unsigned seed) {
    std::mt19937 random(seed);
    std::vector<BlockPool::Block*> held;
    for (int i = 0; i < 2000; ++i) {
      if (held.size() < 20 && random() % 2 == 0) {
        held.push_back(pool.allocate(random() % (kChunk / 8)));
        std::memset(held.back()->data, static_cast<int>(seed), held.back()->bytes);
      } else if (!held.empty()) {
        BlockPool::Block* block = held[random() % held.size()];
        std::erase(held, block);
        const auto mine = static_cast<std::byte>(seed);
        EXPECT_TRUE(std::all_of(
            block->data, block->data + block->bytes, [mine](std::byte b) { return b == mine; }));
        pool.release(block);
      }
    }
    for (BlockPool::Block* block : held) {
      pool.release(block);
    }
  };
  std::thread other(use, 1U);
  use(2U);
  other.join();
  EXPECT_EQ(pool.used_bytes(), 0U);
}

}  // namespace
}  // namespace enodia
