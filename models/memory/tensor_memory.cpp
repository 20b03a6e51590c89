#include "models/memory/tensor_memory.h"

#include <cstdint>
#include <cstring>
#include <memory>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include "models/memory/block_pool.h"

namespace enodia {
namespace {

constexpr size_t kSmallBytes = 65536;  // below, malloc is as fast and never unmaps
constexpr c10::DeviceType kHost = c10::DeviceType::CPU;

void release_block(void* block) {
  auto* released = static_cast<BlockPool::Block*>(block);
  released->pool->release(released);
}

/// Memory of one tensor, and what it was counted as.
struct Counted {
  c10::DataPtr memory;
  MemoryLedger* ledger;
  MemoryKind kind;
  int64_t bytes;
};

void release_counted(void* tensor) {
  const std::unique_ptr<Counted> counted(static_cast<Counted*>(tensor));
  counted->ledger->remove(counted->kind, counted->bytes);
}

class PoolAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    auto counted = std::make_unique<Counted>(
        Counted{take(bytes), &ledger_, MemoryScope::current(), static_cast<int64_t>(bytes)});
    ledger_.add(counted->kind, counted->bytes);
    void* data = counted->memory.get();
    return {data, counted.release(), &release_counted, c10::Device(kHost)};
  }
  void copy_data(void* target, const void* source, size_t bytes) const override {
    std::memcpy(target, source, bytes);
  }
  MemoryLedger& ledger() { return ledger_; }

 private:
  c10::DataPtr take(size_t bytes) {
    if (bytes < kSmallBytes) {
      return c10::GetDefaultCPUAllocator()->allocate(bytes);
    }
    BlockPool::Block* block = pool_.allocate(bytes);
    return {block->data, block, &release_block, c10::Device(kHost)};
  }

  BlockPool pool_;
  MemoryLedger ledger_;
};

}  // namespace

void keep_tensors_in_block_pool() {
  // LibTorch wants a static lifetime: tensors of static objects may be freed after main.
  c10::SetAllocator(kHost, new PoolAllocator);
}

// LibTorch's table of allocators is the one place that knows what serves this process.
MemoryLedger* tensor_memory() {
  auto* allocator = dynamic_cast<PoolAllocator*>(c10::GetAllocator(kHost));
  return allocator != nullptr ? &allocator->ledger() : nullptr;
}

}  // namespace enodia
