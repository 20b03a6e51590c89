#include "models/memory/block_pool.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

#include <sys/mman.h>

namespace enodia {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kGranule = 4096;  // blocks begin at pages, so that no two share a cache line

size_t round_up(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

BlockPool::BlockPool(size_t chunk_bytes) : chunk_bytes_(round_up(chunk_bytes, kHugePage)) {}

BlockPool::~BlockPool() {
  for (Block* block : free_) {  // neighbors have grown together: one free block spans each chunk
    delete block;
  }
  for (const Chunk& chunk : chunks_) {
    munmap(chunk.mapping, chunk.bytes);
  }
}

BlockPool::Block* BlockPool::map_chunk(size_t at_least) {
  const size_t bytes = std::max(chunk_bytes_, round_up(at_least, kHugePage));
  auto block = std::make_unique<Block>();
  chunks_.reserve(chunks_.size() + 1);
  // One huge page more, to begin at a boundary whatever the kernel returns.
  const size_t mapped = bytes + kHugePage;
  void* mapping = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    throw std::bad_alloc();
  }
  chunks_.push_back({mapping, mapped});
  const auto address = reinterpret_cast<uintptr_t>(mapping);
  auto* data = static_cast<std::byte*>(mapping) + (round_up(address, kHugePage) - address);
  madvise(data, bytes, MADV_HUGEPAGE);  // advice: where it is refused, small pages serve
  mapped_bytes_ += bytes;
  *block = {this, data, bytes, true, nullptr, nullptr};
  return block.release();
}

void BlockPool::split(Block* block, size_t bytes) {
  if (block->bytes == bytes) {
    return;
  }
  auto* rest = new Block{this, block->data + bytes, block->bytes - bytes, true, block, block->next};
  if (rest->next != nullptr) {
    rest->next->previous = rest;
  }
  block->next = rest;
  block->bytes = bytes;
  free_.insert(rest);
}

BlockPool::Block* BlockPool::allocate(size_t bytes) {
  const std::lock_guard lock(mutex_);
  const size_t rounded = round_up(std::max<size_t>(bytes, 1), kGranule);
  Block wanted{this, nullptr, rounded, true, nullptr, nullptr};
  const auto found = free_.lower_bound(&wanted);
  Block* block = nullptr;
  if (found != free_.end()) {
    block = *found;
    free_.erase(found);
  } else {
    block = map_chunk(rounded);
  }
  split(block, rounded);
  block->is_free = false;
  used_bytes_ += block->bytes;
  return block;
}

void BlockPool::absorb_next(Block* block) {
  Block* next = block->next;
  block->bytes += next->bytes;
  block->next = next->next;
  if (block->next != nullptr) {
    block->next->previous = block;
  }
  delete next;
}

void BlockPool::release(Block* block) {
  const std::lock_guard lock(mutex_);
  used_bytes_ -= block->bytes;
  block->is_free = true;
  if (block->next != nullptr && block->next->is_free) {
    free_.erase(block->next);
    absorb_next(block);
  }
  if (block->previous != nullptr && block->previous->is_free) {
    block = block->previous;
    free_.erase(block);
    absorb_next(block);
  }
  free_.insert(block);
}

size_t BlockPool::mapped_bytes() const {
  const std::lock_guard lock(mutex_);
  return mapped_bytes_;
}

size_t BlockPool::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

}  // namespace enodia
