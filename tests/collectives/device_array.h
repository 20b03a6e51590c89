#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "collectives/buffer.h"
#include "collectives/queue_event.h"

namespace enodia {

/// Elements in the memory of a device, in the order of the queue that they were made on.
template <typename T>
struct DeviceArray {
  std::shared_ptr<void> memory;
  int64_t count;
  int device;

  Buffer buffer() const { return Buffer{memory.get(), count, dtype_of<T>(), device}; }
  size_t bytes() const { return static_cast<size_t>(count) * sizeof(T); }
};

/// Arrays on a device and in host memory that copies come from and go to. Everything lives as long
/// as this, so that a copy that comes too late does no harm.
template <typename T>
class DeviceArrays {
 public:
  explicit DeviceArrays(int device) : device_(device) {}

  DeviceArray<T> make(const Queue& queue, int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    arrays_.push_back({allocate(queue, bytes), count, device_});
    return arrays_.back();
  }
  DeviceArray<T> upload(const Queue& queue, const std::vector<T>& content) {
    const DeviceArray<T> array = make(queue, static_cast<int64_t>(content.size()));
    fill(queue, array, content);
    return array;
  }
  void fill(const Queue& queue, const DeviceArray<T>& array, const std::vector<T>& content) {
    host_.push_back(content);
    queue.copy(array.memory.get(), host_.back().data(), array.bytes());
  }
  /// What comes back is there once the host has waited for the queue.
  const std::vector<T>& download(const Queue& queue, const DeviceArray<T>& array) {
    host_.emplace_back(static_cast<size_t>(array.count), T{});
    queue.copy(host_.back().data(), array.memory.get(), array.bytes());
    return host_.back();
  }
  /// Gives the memory on the device back.
  void clear() { arrays_.clear(); }

 private:
  int device_;
  std::deque<std::vector<T>> host_;
  std::deque<DeviceArray<T>> arrays_;
};

/// count elements that tell who made them and why.
template <typename T>
std::vector<T> content_of(int rank, int purpose, int64_t count = 64) {
  std::vector<T> content(static_cast<size_t>(count));
  std::iota(content.begin(), content.end(), static_cast<T>(10'000 * (rank + 1) + 100 * purpose));
  return content;
}

}  // namespace enodia
