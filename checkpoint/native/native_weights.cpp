#include "checkpoint/native/native_weights.h"

#include <algorithm>
#include <span>
#include <vector>

namespace enodia {
namespace {

/// Reads `stored` as it lies in the file and turns its elements into those of `out`.
template <typename From, typename To>
void read_converted(const Checkpoint& checkpoint, Shard stored, To* out) {
  const int64_t count = element_count(stored.size, sizeof(From)).value_or(0);
  std::vector<From> elements(static_cast<size_t>(count));
  stored.data = elements.data();
  checkpoint.read(stored);
  std::transform(
      elements.begin(), elements.end(), out, [](From value) { return static_cast<To>(value); });
}

}  // namespace

std::string stored_name(std::string_view column, std::string_view parameter) {
  return std::string(column) + "/" + std::string(parameter);
}

void NativeWeights::read(const Shard& wanted) const {
  Shard shard = wanted;
  shard.name = stored_name("master", wanted.name);
  const StoredTensor* stored = checkpoint_.find(shard.name);
  const bool widens =
      stored != nullptr && stored->dtype == DType::kFloat32 && wanted.dtype == DType::kFloat64;
  const bool narrows =
      stored != nullptr && stored->dtype == DType::kFloat64 && wanted.dtype == DType::kFloat32;
  if (widens) {
    shard.dtype = DType::kFloat32;
    read_converted<float>(checkpoint_, shard, static_cast<double*>(wanted.data));
  } else if (narrows) {
    shard.dtype = DType::kFloat64;
    read_converted<double>(checkpoint_, shard, static_cast<float*>(wanted.data));
  } else {
    checkpoint_.read(shard);
  }
}

}  // namespace enodia
