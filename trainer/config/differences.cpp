#include "trainer/config/differences.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>

namespace enodia {
namespace {

bool must_stay(std::string_view path) {
  constexpr std::array<std::string_view, 4> kPaths{
      "data.order", "run.seed", "train.sequence_length", "train.global_batch_size"};
  return path.starts_with("model.") || path.starts_with("parts.") ||
         std::find(kPaths.begin(), kPaths.end(), path) != kPaths.end();
}

/// The settings of this program's parts that were not stored have their defaults.
std::map<std::string, std::string> values_by_path(TrainConfig stored, const PartNames& parts) {
  stored.model.settings.merge(default_config(parts).model.settings);
  for (const auto& [name, setting] : parts.settings) {
    stored.parts.settings[name] = setting;
  }
  std::map<std::string, std::string> values;
  for (const ConfigEntry& entry : list_entries(stored)) {
    values[entry.path] = entry.value;
  }
  return values;
}

}  // namespace

std::vector<ConfigChange> list_changes(const TrainConfig& stored,
                                       std::span<const ConfigEntry> unknown,
                                       const TrainConfig& wanted) {
  std::map<std::string, std::string> before = values_by_path(stored, wanted.parts);
  std::vector<ConfigChange> changes;
  for (const auto& [path, value] : list_entries(wanted)) {
    const std::string old = before.extract(path).mapped();
    if (old != value) {
      changes.push_back(
          {path,
           path + ": " + old + " -> " + value + " (" + wanted.source_of(path).brief() + ")" +
               (path == "train.init" ? ", which a run that goes on needs no more" : ""),
           !must_stay(path)});
    }
  }
  // Settings of parts that this program does not have: a model that uses them differs by name too.
  for (const auto& [path, old] : before) {
    changes.push_back({path, path + ": " + old + " -> this program has no such key", true});
  }
  for (const ConfigEntry& entry : unknown) {
    changes.push_back(
        {entry.path, entry.path + ": " + entry.value + " -> this version has no such key", true});
  }
  return changes;
}

}  // namespace enodia
