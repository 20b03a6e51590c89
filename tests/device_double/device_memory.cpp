#include "tests/device_double/device_memory.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <stdexcept>

#include <sys/mman.h>
#include <unistd.h>

namespace enodia {
namespace {

constexpr size_t kBytes = size_t{8} << 30;  // of addresses; pages come with their first use
constexpr size_t kSmallest = 256;
constexpr int kPoison = 0xFF;

std::byte* map(int file, int protection) {
  void* const place = ::mmap(nullptr, kBytes, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (place == MAP_FAILED) {
    throw std::runtime_error("the device double got no addresses");
  }
  return static_cast<std::byte*>(place);
}

}  // namespace

DeviceMemory::DeviceMemory() {
  const int file = ::memfd_create("device double", MFD_CLOEXEC);
  if (file < 0 || ::ftruncate(file, kBytes) != 0) {
    throw std::runtime_error("the device double got no memory");
  }
  locked_ = map(file, PROT_NONE);
  open_ = map(file, PROT_READ | PROT_WRITE);
  ::close(file);
}

DeviceMemory::~DeviceMemory() {
  ::munmap(locked_, kBytes);
  ::munmap(open_, kBytes);
}

void* DeviceMemory::allocate(size_t bytes) {
  const size_t size = std::bit_ceil(std::max(bytes, kSmallest));
  const std::lock_guard lock(mutex_);
  std::vector<std::byte*>& candidates = free_[size];
  std::byte* memory = nullptr;
  if (!candidates.empty()) {
    memory = candidates.back();
    candidates.pop_back();
  } else {
    if (used_ + size > kBytes) {
      throw std::bad_alloc();
    }
    memory = locked_ + used_;
    used_ += size;
    std::memset(open(memory), kPoison, size);
  }
  size_of_[memory] = size;
  return memory;
}

void DeviceMemory::free(void* memory) {
  if (memory == nullptr) {
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto found = size_of_.find(static_cast<const std::byte*>(memory));
  std::memset(open(memory), kPoison, found->second);
  free_[found->second].push_back(static_cast<std::byte*>(memory));
  size_of_.erase(found);
}

std::optional<DeviceMemory::Block> DeviceMemory::block_of(const void* memory) {
  const std::lock_guard lock(mutex_);
  const auto* const at = static_cast<const std::byte*>(memory);
  auto found = size_of_.upper_bound(at);
  if (found == size_of_.begin()) {
    return std::nullopt;
  }
  --found;
  if (at >= found->first + found->second) {
    return std::nullopt;
  }
  const auto number = static_cast<int>((found->first - locked_) / std::ptrdiff_t{kSmallest});
  return Block{found->first, found->second, number};
}

bool DeviceMemory::is_here(const void* memory) const {
  const auto* const at = static_cast<const std::byte*>(memory);
  return at >= locked_ && at < locked_ + kBytes;
}

void* DeviceMemory::open(void* memory) const {
  return is_here(memory) ? open_ + (static_cast<std::byte*>(memory) - locked_) : memory;
}

}  // namespace enodia
