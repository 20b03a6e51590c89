#pragma once

#include <cstdint>
#include <vector>

#include "trainer/data/blend.h"
#include "trainer/data/micro_batch.h"
#include "trainer/data/sampler.h"

namespace enodia {

/// Says what training sample i is, for any i >= 0, without state: the blend names its source, and
/// the source's own sampler the place in it. Each source goes through its own epochs in its own
/// order; one source alone gives its sampler's samples.
class BlendedSampler {
 public:
  /// One sampler for each source of the blend, with one sequence length; throws UsageError else.
  BlendedSampler(std::vector<Sampler> sources, Blend blend);

  /// Samples [first_sample, first_sample + count), one sequence of S tokens each, cut into segments
  /// where documents end. The last token of a document has no label. Local.
  MicroBatch micro_batch(int64_t first_sample, int64_t count) const;

 private:
  std::vector<Sampler> sources_;
  Blend blend_;
};

}  // namespace enodia
