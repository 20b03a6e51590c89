#pragma once

#include <cstdint>

namespace enodia {

/// A run of places along one dim of a tensor: rows of a weight, tokens of a micro-batch, heads.
struct Slice {
  int64_t first = 0;
  int64_t count = 0;
  int64_t end() const { return first + count; }
  bool operator==(const Slice&) const = default;
};

/// The share that part `index` of `parts` has of `total` places: contiguous, in order of index,
/// sizes differ by at most one and may be zero.
Slice share_of(int64_t total, int parts, int index);

/// The heads of one rank of a tensor-parallel group of `tp`. Query head h reads key/value head
/// h / (H / G).
struct HeadShare {
  Slice query, key_value;
  /// The ranks of the group that hold the same key/value heads: one, unless there are fewer
  /// key/value heads than ranks. Each of them has query heads of its own.
  int first_holder = 0, holders = 1;
};

/// With G >= tp each rank gets whole key/value heads and their query heads. With G < tp rank r
/// holds key/value head r G / tp, and the ranks that hold it share its query heads; one may get
/// none. G divides H. As Megatron-LM replicates key/value heads, without its rules of divisibility.
HeadShare heads_of(int64_t query_heads, int64_t key_value_heads, int tp, int rank);

}  // namespace enodia
