#include "trainer/data/blended_sampler.h"

#include <utility>

#include "common/check.h"

namespace enodia {

BlendedSampler::BlendedSampler(std::vector<Sampler> sources, Blend blend)
    : sources_(std::move(sources)),
      blend_(std::move(blend)) {
  ENODIA_CHECK_EQ(sources_.size(), blend_.shares().size());
  for (const Sampler& source : sources_) {
    ENODIA_CHECK_EQ(source.sequence_length(), sources_[0].sequence_length());
  }
}

MicroBatch BlendedSampler::micro_batch(int64_t first_sample, int64_t count) const {
  MicroBatchBuilder builder;
  for (int64_t sample = first_sample; sample < first_sample + count; ++sample) {
    const Blend::Place place = blend_.place(sample);
    add_sample(sources_[static_cast<size_t>(place.source)], place.number, builder);
  }
  return builder.finish();
}

}  // namespace enodia
