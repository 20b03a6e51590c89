#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace enodia {

/// Tensors in a checkpoint have at most this many dimensions.
constexpr size_t kMaxDims = 8;

/// The elements [offset, offset + size) of a tensor, one entry for each dimension.
struct Box {
  std::vector<int64_t> offset;
  std::vector<int64_t> size;
};

/// The product of sizes in elements; nothing when an entry is negative or when the product with
/// `element_bytes` passes 2^60. A zero anywhere gives zero, whatever the others are.
std::optional<int64_t> element_count(std::span<const int64_t> sizes, size_t element_bytes);

/// True when the box has as many dimensions as `shape` and lies inside it. Cannot overflow.
bool lies_inside(const Box& box, std::span<const int64_t> shape);

/// What two boxes of one tensor share; nothing when they share no element.
std::optional<Box> intersect(const Box& a, const Box& b);

/// Copies the elements of `part` (inside both boxes, global coordinates) from the memory of
/// `from_box` to that of `to_box`, both row-major.
void copy_box(const Box& part,
              const Box& from_box,
              const std::byte* from,
              const Box& to_box,
              std::byte* to,
              size_t element_bytes);

/// Cuts the whole of `shape` into boxes that follow each other in row-major memory, each
/// of at most `max_elements` (at least 1): for streaming a tensor through a small buffer.
std::vector<Box> row_major_slabs(std::span<const int64_t> shape, int64_t max_elements);

/// "[0, 16) x [4, 8)", "scalar".
std::string text_of(const Box& box);
/// "[16, 8]"
std::string text_of(std::span<const int64_t> sizes);

/// Proves that non-empty boxes, all inside `shape`, hold each of its elements exactly once. Returns
/// a description of the first element for which that is not so ("element [3, 0] lies in no box"),
/// or nothing. Exact, and O(n log n) in the number of boxes.
std::optional<std::string> cover_fault(std::span<const int64_t> shape, std::span<const Box> boxes);

}  // namespace enodia
