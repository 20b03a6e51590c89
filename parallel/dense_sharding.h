#pragma once

#include <cstdint>
#include <vector>

#include "parallel/slice.h"

namespace enodia {

/// By what ZeRO stage 1 cuts the optimizer's state of dense parameters among the ranks that hold
/// the same copies (arXiv 1910.02054, section 5.1).
enum class Zero1 : uint8_t {
  kOff,         ///< every holder keeps all of it
  kRows,        ///< a rank keeps some rows of a parameter
  kParameters,  ///< a rank keeps whole parameters
};

struct DenseSharding {
  static constexpr int64_t kOneBucket = INT64_MAX;

  Zero1 zero1 = Zero1::kOff;
  /// Gradients are reduced in buckets of at least so many bytes, as backward makes them final: of
  /// use where communication goes on under compute.
  int64_t bucket_bytes = kOneBucket;
};

/// A run of dense parameters of one table whose gradients are reduced together, cut among the
/// holders: holder i owns counts[i] of its elements, one share after the other.
struct GradientBucket {
  Slice elements;
  int block = 0;                ///< of the decoder: final once this block's backward is over
  std::vector<int64_t> counts;  ///< [holders]
};

/// A parameter in its flat table, for cutting.
struct FlatParameter {
  Slice elements;   ///< without padding
  int64_t row = 1;  ///< elements of a row, the smallest piece it may be cut into
};

/// Cuts a bucket into one share for each of `holders`, as even as cuts at rows (or between
/// parameters, when `whole`) allow. `parameters` lie inside the bucket, ascending.
std::vector<int64_t> cut_bucket(const Slice& bucket,
                                const std::vector<FlatParameter>& parameters,
                                int holders,
                                bool whole);

}  // namespace enodia
