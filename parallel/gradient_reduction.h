#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "collectives/communicator.h"

namespace enodia {

/// Sums dense gradients over all ranks, in rank order, while backward goes on: gradients become
/// final from the end of the flat buffer to its beginning, and are reduced in buckets of at least
/// `bucket_bytes`. The objective already carries 1/N, so nothing is divided here. Every element's
/// bits are the same for any size of buckets. All calls are collective.
class GradientReduction {
 public:
  static constexpr int64_t kOneBucket = INT64_MAX;

  /// `gradients` is flat and contiguous.
  GradientReduction(Communicator& communicator, at::Tensor gradients, int64_t bucket_bytes);
  /// On every rank all gradients from element `first` on are final.
  void ready_from(int64_t first);
  /// All are; waits for the sums.
  void finish();

 private:
  void start(int64_t first);

  Communicator& communicator_;
  at::Tensor gradients_;
  int64_t bucket_bytes_;
  int64_t under_way_from_;  // elements from here on
  std::vector<Work> under_way_;
};

}  // namespace enodia
