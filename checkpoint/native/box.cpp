#include "checkpoint/native/box.h"

#include <algorithm>
#include <cstring>

namespace enodia {
namespace {

constexpr int64_t kMaxTensorBytes = int64_t{1} << 60;

/// Element index of a global coordinate in the box's row-major memory.
int64_t position_in(const Box& box, std::span<const int64_t> coordinate) {
  int64_t position = 0;
  for (size_t dim = 0; dim < coordinate.size(); ++dim) {
    position = position * box.size[dim] + coordinate[dim] - box.offset[dim];
  }
  return position;
}

/// Steps `coordinate` through the first `dims` dimensions of `part`; false after the last one.
bool advance(std::vector<int64_t>& coordinate, const Box& part, size_t dims) {
  for (size_t dim = dims; dim-- > 0;) {
    if (++coordinate[dim] < part.offset[dim] + part.size[dim]) {
      return true;
    }
    coordinate[dim] = part.offset[dim];
  }
  return false;
}

}  // namespace

std::optional<int64_t> element_count(std::span<const int64_t> sizes, size_t element_bytes) {
  const auto negative = [](int64_t size) { return size < 0; };
  if (std::any_of(sizes.begin(), sizes.end(), negative)) {
    return std::nullopt;
  }
  if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) {
    return 0;
  }
  const int64_t limit = kMaxTensorBytes / static_cast<int64_t>(element_bytes);
  int64_t count = 1;
  for (const int64_t size : sizes) {
    if (size > limit / count) {
      return std::nullopt;
    }
    count *= size;
  }
  return count;
}

bool lies_inside(const Box& box, std::span<const int64_t> shape) {
  if (box.offset.size() != shape.size() || box.size.size() != shape.size()) {
    return false;
  }
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    const int64_t offset = box.offset[dim];
    const int64_t size = box.size[dim];
    if (offset < 0 || size < 0 || offset > shape[dim] || size > shape[dim] - offset) {
      return false;
    }
  }
  return true;
}

std::optional<Box> intersect(const Box& a, const Box& b) {
  Box common = a;
  for (size_t dim = 0; dim < a.size.size(); ++dim) {
    const int64_t begin = std::max(a.offset[dim], b.offset[dim]);
    const int64_t end = std::min(a.offset[dim] + a.size[dim], b.offset[dim] + b.size[dim]);
    if (end <= begin) {
      return std::nullopt;
    }
    common.offset[dim] = begin;
    common.size[dim] = end - begin;
  }
  return common;
}

void copy_box(const Box& part,
              const Box& from_box,
              const std::byte* from,
              const Box& to_box,
              std::byte* to,
              size_t element_bytes) {
  // Dimensions [outer, dims) of the part form one contiguous run in both memories: the last one
  // always, and each further out as long as those inside it are whole in both boxes.
  size_t outer = part.size.size();
  auto run_elements = int64_t{1};
  while (outer > 0) {
    --outer;
    run_elements *= part.size[outer];
    if (part.size[outer] != from_box.size[outer] || part.size[outer] != to_box.size[outer]) {
      break;
    }
  }
  const auto bytes = static_cast<int64_t>(element_bytes);
  std::vector<int64_t> coordinate = part.offset;
  do {
    std::memcpy(to + position_in(to_box, coordinate) * bytes,
                from + position_in(from_box, coordinate) * bytes,
                static_cast<size_t>(run_elements * bytes));
  } while (advance(coordinate, part, outer));
}

std::vector<Box> row_major_slabs(std::span<const int64_t> shape, int64_t max_elements) {
  // Dimension `cut` is the first whose inner part fits the limit: the slabs are whole in all
  // dimensions inside it, a range in it, and a single index in those outside.
  size_t cut = shape.size();
  int64_t inner = 1;
  while (cut > 0 && inner <= max_elements / std::max<int64_t>(shape[cut - 1], 1)) {
    inner *= shape[--cut];
  }
  Box whole{std::vector<int64_t>(shape.size(), 0), {shape.begin(), shape.end()}};
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) {
    return {};
  }
  if (cut == 0) {
    return {whole};
  }
  const size_t dim = cut - 1;
  const int64_t step = std::max<int64_t>(max_elements / inner, 1);
  std::vector<Box> slabs;
  std::vector<int64_t> coordinate(shape.size(), 0);
  do {
    for (int64_t begin = 0; begin < shape[dim]; begin += step) {
      Box slab = whole;
      for (size_t outer = 0; outer < dim; ++outer) {
        slab.offset[outer] = coordinate[outer];
        slab.size[outer] = 1;
      }
      slab.offset[dim] = begin;
      slab.size[dim] = std::min(step, shape[dim] - begin);
      slabs.push_back(std::move(slab));
    }
  } while (advance(coordinate, whole, dim));
  return slabs;
}

std::string text_of(const Box& box) {
  std::string text;
  for (size_t dim = 0; dim < box.size.size(); ++dim) {
    text += (dim == 0 ? "[" : " x [") + std::to_string(box.offset[dim]) + ", " +
            std::to_string(box.offset[dim] + box.size[dim]) + ")";
  }
  return text.empty() ? "scalar" : text;
}

std::string text_of(std::span<const int64_t> sizes) {
  std::string text = "[";
  for (size_t dim = 0; dim < sizes.size(); ++dim) {
    text += (dim == 0 ? "" : ", ") + std::to_string(sizes[dim]);
  }
  return text + "]";
}

}  // namespace enodia
