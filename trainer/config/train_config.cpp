#include "trainer/config/train_config.h"

#include <algorithm>
#include <functional>

#include "common/check.h"
#include "trainer/config/schema.h"

namespace enodia {

void RunOptions::check(Rules& rules) const {
  rules.relate(name.find('/') == std::string::npos && name != "." && name != "..",
               "name (",
               name,
               ") must be a single word without '/'; paths go to run.dir");
  rules.relate(
      device == DeviceKind::kCpu || progress != ProgressMode::kThread,
      "progress (thread) must be auto or inline when device (cuda) is cuda, whose messages "
      "move on streams of their own; leave it out");
}

void TrainOptions::check(Rules& rules) const {
  constexpr int64_t kMostTokens = int64_t{1} << 62;
  const int64_t tokens_a_step = std::max<int64_t>(global_batch_size * sequence_length, 1);
  rules.relate(steps <= kMostTokens / tokens_a_step,
               "steps (",
               steps,
               ") times global_batch_size (",
               global_batch_size,
               ") times sequence_length (",
               sequence_length,
               ") must be at most ",
               kMostTokens,
               " tokens; set train.steps to at most ",
               kMostTokens / tokens_a_step);
}

TrainConfig default_config(const PartNames& parts) {
  TrainConfig config;
  config.parts = parts;
  for (const auto& [name, setting] : parts.settings) {
    config.model.settings[name] = setting.value;
  }
  return config;
}

std::string ValueSource::place() const {
  return line == 0 ? origin : detail::concat(origin, ":", line, ":", column);
}

std::string ValueSource::brief() const {
  if (origin.empty()) {
    return "default";
  }
  std::string text = line == 0 ? origin.substr(0, origin.find(' ')) : place();
  for (char& c : text) {
    c = c < ' ' || c == 0x7f ? '?' : c;  // file names can hold any bytes
  }
  return text;
}

ValueSource TrainConfig::source_of(const std::string& path) const {
  const auto found = sources.find(path);
  return found == sources.end() ? ValueSource{} : found->second;
}

namespace {

std::string write_keys(const TrainConfig& config,
                       const std::function<bool(const std::string& path)>& wanted) {
  constexpr size_t kCommentColumn = 36;
  TrainConfig copy = config;
  std::string yaml;
  std::string section;
  for (const ConfigKey& key : list_keys(copy)) {
    if (!wanted(key.path())) {
      continue;
    }
    if (key.section != section) {
      section = key.section;
      yaml += section + ":\n";
    }
    std::string line = "  " + key.name + ": " + key.write();
    line.resize(std::max(line.size(), kCommentColumn - 2), ' ');
    yaml += line + "  # " + config.source_of(key.path()).brief() + "; " + key.meaning + "\n";
  }
  return yaml;
}

}  // namespace

bool shapes_model(std::string_view path) {
  return path.starts_with("model.") || path.starts_with("router.") || path.starts_with("parts.");
}

std::string to_yaml(const TrainConfig& config) {
  return write_keys(config, [](const std::string&) { return true; });
}

std::string model_to_yaml(const TrainConfig& config) {
  return write_keys(config, shapes_model);
}

std::vector<ConfigEntry> list_entries(const TrainConfig& config) {
  TrainConfig copy = config;
  std::vector<ConfigEntry> entries;
  for (const ConfigKey& key : list_keys(copy)) {
    entries.push_back({key.path(), key.write()});
  }
  return entries;
}

PlacementOptions TrainConfig::placement_options(int64_t world_size) const {
  const bool each_owns_experts = world_size > 1 && model.num_experts >= world_size &&
                                 parallel.expert_ranks(world_size) == world_size;
  std::string policy = placement.policy;
  if (policy == PlacementConfig::kAuto) {
    policy = each_owns_experts ? PlacementConfig::kEnodia : PlacementConfig::kOwners;
  }
  PlacementOptions options{.stripes = static_cast<int>(placement.stripes),
                           .reshard_interval = placement.reshard_interval,
                           .reshard_gain = placement.reshard_gain};
  for (const PolicyEntry& entry : placement_policies()) {
    if (entry.name == policy && policy != PlacementConfig::kOwners) {
      options.policy = &entry;
      options.extra_slots = static_cast<int>(placement.extra_slots);
    }
  }
  return options;
}

}  // namespace enodia
