#include "trainer/config/differences.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace enodia {
namespace {

bool must_stay(std::string_view path) {
  constexpr std::array<std::string_view, 4> kPaths{
      "data.order", "run.seed", "train.sequence_length", "train.global_batch_size"};
  return path.starts_with("model.") ||
         std::find(kPaths.begin(), kPaths.end(), path) != kPaths.end();
}

}  // namespace

std::vector<ConfigChange> list_changes(const TrainConfig& stored,
                                       std::span<const ConfigEntry> unknown,
                                       const TrainConfig& wanted) {
  const std::vector<ConfigEntry> before = list_entries(stored);
  const std::vector<ConfigEntry> after = list_entries(wanted);
  std::vector<ConfigChange> changes;
  for (size_t i = 0; i < after.size(); ++i) {
    const std::string& path = after[i].path;
    if (before[i].value != after[i].value) {
      changes.push_back(
          {path,
           path + ": " + before[i].value + " -> " + after[i].value + " (" +
               wanted.source_of(path).brief() + ")" +
               (path == "train.init" ? ", which a run that goes on needs no more" : ""),
           !must_stay(path)});
    }
  }
  for (const ConfigEntry& entry : unknown) {
    changes.push_back(
        {entry.path, entry.path + ": " + entry.value + " -> this version has no such key", true});
  }
  return changes;
}

}  // namespace enodia
