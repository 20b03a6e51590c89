#include "parallel/dense_sharding.h"

#include <algorithm>

namespace enodia {
namespace {

/// The cut nearest to `wanted` that splits no row; between parameters it is free.
int64_t nearest_cut(int64_t wanted, const std::vector<FlatParameter>& parameters, bool whole) {
  const auto found = std::find_if(parameters.begin(), parameters.end(), [&](const auto& parameter) {
    return wanted > parameter.elements.first && wanted < parameter.elements.end();
  });
  if (found == parameters.end()) {
    return wanted;
  }
  const int64_t unit = whole ? found->elements.count : found->row;
  const int64_t inside = wanted - found->elements.first;
  return found->elements.first + (inside + unit / 2) / unit * unit;
}

}  // namespace

std::vector<int64_t> cut_bucket(const Slice& bucket,
                                const std::vector<FlatParameter>& parameters,
                                int holders,
                                bool whole) {
  std::vector<int64_t> counts;
  int64_t begin = bucket.first;
  for (int holder = 0; holder < holders; ++holder) {
    const int64_t even = bucket.first + share_of(bucket.count, holders, holder).end();
    const int64_t end = holder + 1 == holders
                            ? bucket.end()
                            : std::max(begin, nearest_cut(even, parameters, whole));
    counts.push_back(end - begin);
    begin = end;
  }
  return counts;
}

}  // namespace enodia
