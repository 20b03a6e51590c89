#pragma once

#include <cstddef>
#include <map>
#include <mutex>
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

  /// Throws std::bad_alloc when the device is full.
  void* allocate(size_t bytes);
  void free(void* memory);
  bool is_here(const void* memory) const;
  /// Where the device's memory can be read and written; host memory is where it is.
  void* open(void* memory) const;
  const void* open(const void* memory) const { return open(const_cast<void*>(memory)); }

 private:
  std::byte* locked_ = nullptr;
  std::byte* open_ = nullptr;
  std::mutex mutex_;  // guards what follows
  size_t used_ = 0;
  std::map<size_t, std::vector<std::byte*>> free_;  // by size
  std::map<const void*, size_t> size_of_;
};

}  // namespace enodia
