// Whether boxes tile a tensor exactly. Let f be the number of boxes that hold an element. Taking
// the difference of f along every dimension leaves a few signed points, the corners of the boxes,
// and loses nothing: f is their prefix sum. So f is 1 everywhere exactly when the corners of the
// boxes, with signs, equal those of the whole tensor. Dimensions in which every box is whole drop
// out.
#include <algorithm>
#include <array>
#include <bit>

#include "checkpoint/native/box.h"

namespace enodia {
namespace {

constexpr size_t kMaxCorners = size_t{1} << 22;

struct Corner {
  std::array<int64_t, kMaxDims> at{};
  int64_t sign = 0;
};

std::vector<size_t> partitioned_dims(std::span<const int64_t> shape, std::span<const Box> boxes) {
  std::vector<size_t> dims;
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    const auto cut = [&](const Box& box) { return box.size[dim] != shape[dim]; };
    if (std::any_of(boxes.begin(), boxes.end(), cut)) {
      dims.push_back(dim);
    }
  }
  return dims;
}

void add_corners(const Box& box,
                 std::span<const size_t> dims,
                 int64_t sign,
                 std::vector<Corner>& corners) {
  for (unsigned mask = 0; mask < (1U << dims.size()); ++mask) {
    Corner corner;
    corner.sign = std::popcount(mask) % 2 == 0 ? sign : -sign;
    for (size_t i = 0; i < dims.size(); ++i) {
      const size_t dim = dims[i];
      corner.at[i] = box.offset[dim] + ((mask >> i & 1U) != 0 ? box.size[dim] : 0);
    }
    corners.push_back(corner);
  }
}

/// At the first corner whose signs do not cancel, the sum is f - 1 itself: all corners that come
/// before it in every dimension also come before it in this order.
std::optional<Corner> first_difference(std::vector<Corner>& corners) {
  std::sort(
      corners.begin(), corners.end(), [](const Corner& a, const Corner& b) { return a.at < b.at; });
  for (size_t i = 0; i < corners.size();) {
    Corner sum = corners[i];
    for (++i; i < corners.size() && corners[i].at == sum.at; ++i) {
      sum.sign += corners[i].sign;
    }
    if (sum.sign != 0) {
      return sum;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> cover_fault(std::span<const int64_t> shape, std::span<const Box> boxes) {
  std::vector<int64_t> element(shape.size(), 0);
  if (boxes.empty()) {
    const bool nothing = std::find(shape.begin(), shape.end(), 0) != shape.end();
    return nothing ? std::nullopt
                   : std::optional("element " + text_of(element) + " lies in no box");
  }
  const std::vector<size_t> dims = partitioned_dims(shape, boxes);
  if (boxes.size() >= kMaxCorners >> dims.size()) {
    return std::to_string(boxes.size()) + " boxes in " + std::to_string(dims.size()) +
           " partitioned dimensions are more than a checkpoint may hold";
  }
  std::vector<Corner> corners;
  corners.reserve((boxes.size() + 1) << dims.size());
  for (const Box& box : boxes) {
    add_corners(box, dims, 1, corners);
  }
  const Box whole{std::vector<int64_t>(shape.size(), 0), {shape.begin(), shape.end()}};
  add_corners(whole, dims, -1, corners);
  const std::optional<Corner> fault = first_difference(corners);
  if (!fault) {
    return std::nullopt;
  }
  for (size_t i = 0; i < dims.size(); ++i) {
    element[dims[i]] = fault->at[i];
  }
  return "element " + text_of(element) +
         (fault->sign < 0 ? " lies in no box" : " lies in more than one box");
}

}  // namespace enodia
