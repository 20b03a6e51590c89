#include "trainer/config/train_config.h"

#include <algorithm>

#include "common/check.h"
#include "trainer/config/schema.h"

namespace enodia {
namespace {

/// For a comment: nothing in it may end the line or be anything but text.
std::string describe_source(const TrainConfig& config, const std::string& path) {
  const auto found = config.sources.find(path);
  if (found == config.sources.end()) {
    return "default";
  }
  const ValueSource& source = found->second;
  if (source.line == 0) {
    return source.origin.substr(0, source.origin.find(' '));
  }
  std::string text = detail::concat(source.origin, ":", source.line);
  for (char& c : text) {
    c = c < ' ' || c == 0x7f ? '?' : c;
  }
  return text;
}

}  // namespace

std::vector<std::string> RunOptions::violations() const {
  std::vector<std::string> broken;
  if (name.find('/') != std::string::npos || name == "." || name == "..") {
    broken.push_back("name (" + name + ") must be a single word without '/'; paths go to run.dir");
  }
  return broken;
}

std::vector<std::string> TrainOptions::violations() const {
  std::vector<std::string> broken;
  if (micro_batch_size <= 0 || global_batch_size % micro_batch_size != 0) {
    const int64_t micro = std::max<int64_t>(micro_batch_size, 1);
    const int64_t below = global_batch_size / micro * micro;
    broken.push_back(detail::concat("global_batch_size (",
                                    global_batch_size,
                                    ") must be a multiple of micro_batch_size (",
                                    micro_batch_size,
                                    "); set it to ",
                                    below > 0 ? detail::concat(below, " or ") : "",
                                    below + micro));
  }
  constexpr int64_t kMostTokens = int64_t{1} << 62;
  const int64_t samples = steps * global_batch_size;
  if (sequence_length > 0 && samples > kMostTokens / sequence_length) {
    broken.push_back(detail::concat("steps (",
                                    steps,
                                    ") times global_batch_size (",
                                    global_batch_size,
                                    ") times sequence_length (",
                                    sequence_length,
                                    ") must be at most ",
                                    kMostTokens,
                                    " tokens; lower one of them"));
  }
  return broken;
}

std::string ValueSource::place() const {
  return line == 0 ? origin : detail::concat(origin, ":", line, ":", column);
}

std::string to_yaml(const TrainConfig& config) {
  TrainConfig copy = config;
  std::string yaml;
  std::string section;
  for (const ConfigKey& key : list_keys(copy)) {
    if (key.section != section) {
      section = key.section;
      yaml += section + ":\n";
    }
    yaml +=
        "  " + key.name + ": " + key.write() + "  # " + describe_source(config, key.path()) + "\n";
  }
  return yaml;
}

std::vector<ConfigEntry> list_entries(const TrainConfig& config) {
  TrainConfig copy = config;
  std::vector<ConfigEntry> entries;
  for (const ConfigKey& key : list_keys(copy)) {
    entries.push_back({key.path(), key.write()});
  }
  return entries;
}

}  // namespace enodia
