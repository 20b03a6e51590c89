#include "models/memory/tensor_memory.h"

#include <cstring>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include "models/memory/block_pool.h"

namespace enodia {
namespace {

constexpr size_t kSmallBytes = 65536;  // below, malloc is as fast and never unmaps

void release_block(void* block) {
  auto* released = static_cast<BlockPool::Block*>(block);
  released->pool->release(released);
}

class PoolAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes < kSmallBytes) {
      return c10::GetDefaultCPUAllocator()->allocate(bytes);
    }
    BlockPool::Block* block = pool_.allocate(bytes);
    return {block->data, block, &release_block, c10::Device(c10::DeviceType::CPU)};
  }
  void copy_data(void* target, const void* source, size_t bytes) const override {
    std::memcpy(target, source, bytes);
  }

 private:
  BlockPool pool_;
};

}  // namespace

void keep_tensors_in_block_pool() {
  // LibTorch wants a static lifetime: tensors of static objects may be freed after main.
  c10::SetAllocator(c10::DeviceType::CPU, new PoolAllocator);
}

}  // namespace enodia
