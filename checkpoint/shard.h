#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/dtype.h"

namespace enodia {

/// A rectangular piece of a global tensor, contiguous and row-major in this rank's host memory:
/// the elements [offset, offset + size) of a tensor of `shape`. A scalar has no dimensions and one
/// element; a piece with a zero in `size` is empty. `data` is borrowed.
struct Shard {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  std::vector<int64_t> offset;
  std::vector<int64_t> size;
  void* data = nullptr;
};

}  // namespace enodia
