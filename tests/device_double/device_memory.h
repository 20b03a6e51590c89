#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace enodia {

/// Memory of a device that does not exist: pages that the host cannot touch (an access ends the
/// program by SIGSEGV), and the same pages under other addresses, for what plays the device.
/// Uninitialized and freed memory is all ones: NaN, or -1. Thread-safe.
class DeviceMemory {
 public:
  DeviceMemory();
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  struct Block {
    const void* begin;
    size_t bytes;
    int number;  ///< of this place; another block may come to lie there later
  };

  /// Throws std::bad_alloc when the device is full.
  void* allocate(size_t bytes);
  void free(void* memory);
  bool is_here(const void* memory) const;
  /// What was allocated around an address.
  std::optional<Block> block_of(const void* memory);
  /// Where the device's memory can be read and written; host memory is where it is.
  void* open(void* memory) const;
  const void* open(const void* memory) const { return open(const_cast<void*>(memory)); }

 private:
  std::byte* locked_ = nullptr;
  std::byte* open_ = nullptr;
  std::mutex mutex_;  // guards what follows
  size_t used_ = 0;
  std::map<size_t, std::vector<std::byte*>> free_;  // by size
  std::map<const std::byte*, size_t> size_of_;
};

}  // namespace enodia
