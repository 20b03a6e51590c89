#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

namespace enodia {

/// Recorded routing that routers are to repeat: token copies of each rank for each expert,
/// [samples, layers, ranks, experts], one sample for each micro-batch of a rank, in order of time.
struct ForcedCounts {
  int64_t samples = 0, layers = 0, ranks = 0, experts = 0;
  std::vector<int32_t> counts = {};
  int64_t micro_batches = 1;  ///< of a rank in a step

  /// [experts] of a rank in a layer and micro-batch; samples and layers are used in turn.
  std::span<const int32_t> of(int64_t step, int64_t micro_batch, int64_t layer, int64_t rank) const;
};

/// How many of `tokens` times `num_chosen` copies go to each expert so that they are spread as
/// `counts`: the largest remainders are rounded up, ties to the smaller expert. No expert gets more
/// copies than there are tokens; what it would have beyond them goes to others in proportion. Equal
/// to `counts` where those are possible and as many.
std::vector<int64_t> spread_copies(std::span<const int32_t> counts,
                                   int64_t tokens,
                                   int64_t num_chosen);

/// Preferences that leave a router no say: the K largest of each row are K different experts, each
/// chosen as often as `copies`, which sum to tokens * K with none above tokens, says. [tokens,
/// experts], far larger than scores, in the type and on the device of `options`. Local.
at::Tensor counted_preferences(std::span<const int64_t> copies,
                               int64_t tokens,
                               const at::TensorOptions& options);

}  // namespace enodia
