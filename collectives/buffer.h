#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "common/dtype.h"

namespace enodia {

/// A typed stretch of memory that a communicator reads or writes. It borrows `data`; `keep`, when
/// set, holds the owner alive until the operation that uses the buffer is done.
struct Buffer {
  void* data = nullptr;
  int64_t count = 0;  ///< elements, not bytes
  DType dtype = DType::kUInt8;
  int device = -1;  ///< -1 = host memory
  std::shared_ptr<const void> keep = nullptr;

  int64_t bytes() const { return count * static_cast<int64_t>(size_of(dtype)); }
  /// Elements [first, first + length).
  Buffer slice(int64_t first, int64_t length) const {
    Buffer part = *this;
    part.data = static_cast<std::byte*>(data) + first * static_cast<int64_t>(size_of(dtype));
    part.count = length;
    return part;
  }
};

/// Views host memory. The caller keeps it alive until the operation's Work is waited for.
template <typename T>
Buffer view(std::span<T> elements) {
  using Element = std::remove_const_t<T>;
  return Buffer{const_cast<Element*>(elements.data()),
                static_cast<int64_t>(elements.size()),
                dtype_of<Element>()};
}

}  // namespace enodia
