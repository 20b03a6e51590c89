#pragma once

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

#include "common/random.h"
#include "models/model_options.h"

namespace enodia {

/// The token copies of one logical micro-batch, whichever ranks hold them. T tokens, K experts
/// each. On the host.
struct CopyCandidates {
  at::Tensor expert_ids;    ///< [T, K] int32
  at::Tensor scores;        ///< [T, K], of kProbs only
  at::Tensor valid;         ///< [T] bool
  int64_t first_token = 0;  ///< number of the first of these tokens in the run
};

struct Capacity {
  int64_t copies = 0;  ///< that an expert takes
  DropPolicy policy = DropPolicy::kPosition;
  RandomKey key;  ///< of the layer and step, for kRandom
};

/// capacity_factor times an even share of the copies of `valid_tokens`, rounded up (GShard, arXiv
/// 2006.16668, section 2.2; K times as much as there for K = 1).
int64_t capacity_of(double capacity_factor,
                    int64_t valid_tokens,
                    int64_t num_chosen,
                    int64_t experts);

/// The expert ids with -1 for copies that find no room, [T, K] int32. Tokens without a label take
/// only what valid ones leave. Among each: kPosition, the first tokens; kProbs, the largest scores,
/// ties to the first; kRandom, the largest of independent uniform numbers, keyed by token and
/// expert (random token selection, arXiv 2109.10465, section 3.2.2). The same on every rank that
/// asks. Local.
at::Tensor admit(const CopyCandidates& candidates, const Capacity& capacity);

}  // namespace enodia
