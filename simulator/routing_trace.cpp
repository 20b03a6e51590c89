#include "simulator/routing_trace.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "checkpoint/safetensors/safetensors_header.h"
#include "checkpoint/safetensors/safetensors_writer.h"
#include "common/check.h"
#include "common/error.h"
#include "common/file.h"

namespace enodia {
namespace {

/// Bounds of each dimension: of any cluster, and of any file that fits into memory.
constexpr int64_t kMaxExtent = int64_t{1} << 20;

const SafetensorsEntry& find_counts(const SafetensorsHeader& header, const std::string& source) {
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.name != "counts") {
      continue;
    }
    if (entry.type != "I32" || entry.shape.size() != 4) {
      throw FileError(source +
                      ": the tensor counts must be int32 (I32) [samples, layers, ranks, "
                      "experts], but is " +
                      entry.type + " with " + std::to_string(entry.shape.size()) + " dimensions");
    }
    for (const int64_t extent : entry.shape) {
      if (extent < 1 || extent > kMaxExtent) {
        throw FileError(source + ": a dimension of the tensor counts is " + std::to_string(extent) +
                        "; each must be from 1 to " + std::to_string(kMaxExtent));
      }
    }
    return entry;
  }
  throw FileError(source + " has no tensor counts; it is not a recording of routing");
}

/// Sums over ranks are counted in as many bits.
void check_layers(const std::vector<int32_t>& counts,
                  int64_t layers,
                  int64_t cells,
                  const std::string& source) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  for (auto first = counts.begin(); first != counts.end(); first += cells) {
    const int64_t tokens = std::accumulate(first, first + cells, int64_t{0});
    if (tokens > kMost) {
      const int64_t at = (first - counts.begin()) / cells;
      throw FileError(source + ": sample " + std::to_string(at / layers) + ", layer " +
                      std::to_string(at % layers) + " of the tensor counts has " +
                      std::to_string(tokens) + " token copies; " + std::to_string(kMost) +
                      " are the most: record smaller micro-batches");
    }
  }
}

}  // namespace

RoutingTrace RoutingTrace::read(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string source = path.string();
  const SafetensorsHeader header =
      parse_safetensors_header({file.data(), static_cast<size_t>(file.size())}, source);
  const SafetensorsEntry& entry = find_counts(header, source);
  std::vector<int32_t> counts(static_cast<size_t>(entry.end - entry.begin) / sizeof(int32_t));
  std::memcpy(counts.data(), file.data() + entry.begin, counts.size() * sizeof(int32_t));
  const auto negative = std::find_if(counts.begin(), counts.end(), [](int32_t n) { return n < 0; });
  if (negative != counts.end()) {
    throw FileError(source + ": element " + std::to_string(negative - counts.begin()) +
                    " of the tensor counts is " + std::to_string(*negative) +
                    "; there are no negative numbers of tokens");
  }
  check_layers(counts, entry.shape[1], entry.shape[2] * entry.shape[3], source);
  const auto extent = [&](int dim) { return static_cast<int>(entry.shape[dim]); };
  return {extent(0), extent(1), extent(2), extent(3), std::move(counts)};
}

RoutingTrace::RoutingTrace(
    int samples, int layers, int ranks, int experts, std::vector<int32_t> counts)
    : samples_(samples),
      layers_(layers),
      ranks_(ranks),
      experts_(experts),
      counts_(std::move(counts)) {
  ENODIA_CHECK_EQ(static_cast<int64_t>(counts_.size()),
                  int64_t{samples} * layers * ranks * experts,
                  "elements of the counts");
  ENODIA_CHECK(std::none_of(counts_.begin(), counts_.end(), [](int32_t n) { return n < 0; }));
}

void RoutingTrace::write(const std::filesystem::path& path) const {
  SafetensorsWriter file(
      path, {{"counts", DType::kInt32, {samples_, layers_, ranks_, experts_}}}, {});
  file.write(std::as_bytes(std::span(counts_)));
  file.finish();
}

LayerCounts RoutingTrace::at(int sample, int layer) const {
  const size_t size = static_cast<size_t>(ranks_) * experts_;
  const size_t first = (static_cast<size_t>(sample) * layers_ + layer) * size;
  return {experts_, std::span(counts_).subspan(first, size)};
}

}  // namespace enodia
