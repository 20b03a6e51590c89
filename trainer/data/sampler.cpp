#include "trainer/data/sampler.h"

#include <algorithm>

#include "common/check.h"
#include "common/error.h"
#include "common/random.h"

namespace enodia {
namespace {

/// Calls `visit` with each place in (start, start + length] where a document begins, once each,
/// measured from `start`.
template <typename Visit>
void for_each_document_start(const IndexedDataset& dataset,
                             int64_t start,
                             int64_t length,
                             const Visit& visit) {
  const std::span<const int64_t> offsets = dataset.document_offsets();
  int64_t previous = start;
  for (auto it = std::upper_bound(offsets.begin(), offsets.end(), start);
       it != offsets.end() && *it <= start + length;
       ++it) {
    if (*it != previous) {  // an empty document shares its start with the next one
      visit(*it - start);
      previous = *it;
    }
  }
}

}  // namespace

Sampler::Sampler(const IndexedDataset& dataset, const SamplerOptions& options)
    : dataset_(dataset),
      options_(options) {
  const int64_t length = options.sequence_length;
  ENODIA_CHECK(length > 0, "sequence_length is ", length);
  const int64_t predicted = dataset.num_tokens() - 1;  // all but the first
  if (predicted < length) {
    throw ConfigError(detail::concat("the data set ",
                                     dataset.prefix(),
                                     " has ",
                                     dataset.num_tokens(),
                                     " tokens, and one sequence needs sequence_length + 1 = ",
                                     length + 1,
                                     "; prepare more text or set a smaller train.sequence_length"));
  }
  // Shuffled, up to S - 1 tokens stay free for the offset, so that it can take every value.
  const int64_t reserved = options.order == SampleOrder::kShuffled ? length - 1 : 0;
  num_windows_ = std::max<int64_t>(1, (predicted - reserved) / length);
}

int64_t Sampler::window_start(int64_t sample) const {
  ENODIA_CHECK(sample >= 0, "sample ", sample);
  const int64_t length = options_.sequence_length;
  const int64_t window = sample % num_windows_;
  if (options_.order == SampleOrder::kSequential) {
    return window * length;
  }
  const auto epoch = static_cast<uint64_t>(sample / num_windows_);
  const RandomKey key = RandomKey(options_.seed).with("data").with(epoch);
  const int64_t spare = dataset_.num_tokens() - 1 - num_windows_ * length;
  const auto num_offsets = static_cast<uint64_t>(std::min(spare, length - 1) + 1);
  const uint64_t offset = philox(key.with("offset"), 0)[0] % num_offsets;
  const uint64_t place =
      random_permutation(key, static_cast<uint64_t>(num_windows_), static_cast<uint64_t>(window));
  return static_cast<int64_t>(offset) + static_cast<int64_t>(place) * length;
}

void add_sample(const Sampler& sampler, int64_t sample, MicroBatchBuilder& builder) {
  builder.begin_sequence();
  const int64_t length = sampler.sequence_length();
  const int64_t start = sampler.window_start(sample);
  std::vector<int64_t> window(static_cast<size_t>(length) + 1);
  sampler.dataset().read(start, window);
  const std::span<const int64_t> ids(window);
  int64_t begin = 0;
  for_each_document_start(sampler.dataset(), start, length, [&](int64_t end) {
    builder.add_segment(ids.subspan(begin, end - begin), end - begin);
    begin = end;
  });
  if (begin < length) {  // the document goes on beyond the window
    builder.add_segment(ids.subspan(begin), length - begin);
  }
}

int64_t count_valid(const Sampler& sampler, int64_t first_sample, int64_t count) {
  int64_t valid = count * sampler.sequence_length();
  for (int64_t sample = first_sample; sample < first_sample + count; ++sample) {
    for_each_document_start(sampler.dataset(),
                            sampler.window_start(sample),
                            sampler.sequence_length(),
                            [&valid](int64_t) { --valid; });
  }
  return valid;
}

}  // namespace enodia
