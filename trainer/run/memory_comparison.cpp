#include "trainer/run/memory_comparison.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>
#include <span>
#include <string>

#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"

namespace enodia {
namespace {

std::string in_megabytes(int64_t bytes) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text.data();
}

std::string deviation(int64_t measured, int64_t forecast) {
  if (forecast == 0) {
    return measured == 0 ? "as foretold" : "foretold: none";
  }
  std::array<char, 32> text{};
  const double ratio = static_cast<double>(measured) / static_cast<double>(forecast);
  std::snprintf(text.data(), text.size(), "%+.1f %%", 100.0 * (ratio - 1.0));
  return text.data();
}

Json to_json(const MemoryUse::ByKind& bytes) {
  Json json;
  for (size_t kind = 0; kind < kNumMemoryKinds; ++kind) {
    json[std::string(name_of(static_cast<MemoryKind>(kind)))] = bytes[kind];
  }
  return json;
}

/// Of each kind what the rank with most of it takes.
MemoryUse::ByKind largest(std::span<const MemoryUse::ByKind> ranks) {
  MemoryUse::ByKind most{};
  for (const MemoryUse::ByKind& bytes : ranks) {
    for (size_t kind = 0; kind < kNumMemoryKinds; ++kind) {
      most[kind] = std::max(most[kind], bytes[kind]);
    }
  }
  return most;
}

/// "parameters 1.2 MB (+0.0 %), ...", of the fullest ranks.
std::string compare(const MemoryUse::ByKind& measured, const MemoryUse::ByKind& forecast) {
  std::string text;
  for (size_t kind = 0; kind < kNumMemoryKinds; ++kind) {
    text += text.empty() ? "" : ", ";
    text += std::string(name_of(static_cast<MemoryKind>(kind))) + " " +
            in_megabytes(measured[kind]) + " (" + deviation(measured[kind], forecast[kind]) + ")";
  }
  return text;
}

/// {"forecast": [..], "measured": [..]}, each with an entry a rank; measured only at the end.
Json file_of(const std::vector<RankMemory>& forecast, std::span<const MemoryUse::ByKind> measured) {
  Json json{{"forecast", Json::array()}};
  for (const RankMemory& rank : forecast) {
    json["forecast"].push_back(rank.to_json());
  }
  for (const MemoryUse::ByKind& bytes : measured) {
    json["measured"].push_back(to_json(bytes));
  }
  return json;
}

}  // namespace

MemoryComparison::MemoryComparison(const TrainConfig& config, int world_size)
    : path_(std::filesystem::path(config.run.dir) / "memory_forecast.json") {
  if (config.model.is_built_in()) {
    forecast_ = forecast_memory(config, world_size);
  }
}

void MemoryComparison::write() const {
  if (!forecast_.empty()) {
    write_file_atomically(path_, file_of(forecast_, {}).dump(1) + "\n");
  }
}

void MemoryComparison::announce() const {
  if (forecast_.empty()) {
    return;
  }
  if (!std::filesystem::exists(path_)) {
    write();
  }
  const RankMemory& fullest =
      *std::max_element(forecast_.begin(), forecast_.end(), [](const auto& a, const auto& b) {
        return a.total() < b.total();
      });
  log_info("tensors are foretold to take up to " + in_megabytes(fullest.total()) + " of a rank, " +
           in_megabytes(fullest.total() - fullest.activations) + " without activations; " +
           path_.string() + " has all ranks and kinds");
}

void MemoryComparison::observe(const MemoryUse& use) {
  for (size_t kind = 0; kind < kNumMemoryKinds; ++kind) {
    peaks_[kind] = std::max(peaks_[kind], use.peak[kind]);
  }
}

void MemoryComparison::finish(Communicator& world) const {
  if (forecast_.empty()) {
    return;
  }
  std::vector<int64_t> flat(kNumMemoryKinds * world.world_size());
  MemoryUse::ByKind mine = peaks_;
  all_gather(world, view(std::span<int64_t>(mine)), view(std::span<int64_t>(flat))).wait();
  if (std::accumulate(flat.begin(), flat.end(), int64_t{0}) == 0) {
    return;
  }
  std::vector<MemoryUse::ByKind> measured(world.world_size());
  std::vector<MemoryUse::ByKind> foretold;
  for (int rank = 0; rank < world.world_size(); ++rank) {
    std::copy_n(flat.begin() + rank * kNumMemoryKinds, kNumMemoryKinds, measured[rank].begin());
    foretold.push_back(forecast_[rank].by_kind());
  }
  run_together(world, [&] {
    if (world.rank() == 0) {
      write_file_atomically(path_, file_of(forecast_, measured).dump(1) + "\n");
      log_info("memory of tensors at most, on the fullest rank, and against the forecast: " +
               compare(largest(measured), largest(foretold)));
    }
  });
}

}  // namespace enodia
