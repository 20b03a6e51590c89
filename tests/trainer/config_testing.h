#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "common/error.h"
#include "trainer/config/schema.h"
#include "trainer/config/train_config.h"

namespace enodia::testing {

/// The smallest sound configuration.
inline const std::string kMinimal =
    "data:\n"
    "  train: data/tiny/train\n"
    "train:\n"
    "  steps: 100\n"
    "  global_batch_size: 8\n"
    "  micro_batch_size: 4\n"
    "  sequence_length: 64\n";

inline TrainConfig parse(const std::string& yaml,
                         const std::vector<std::string>& overrides = {},
                         int world_size = 0) {
  return parse_train_config(yaml, "tiny.yaml", overrides, world_size);
}

/// The lines of the error, none when the configuration is sound.
inline std::vector<std::string> problems_of(const std::string& yaml,
                                            const std::vector<std::string>& overrides = {},
                                            int world_size = 0) {
  std::vector<std::string> lines;
  try {
    parse(yaml, overrides, world_size);
  } catch (const ConfigError& error) {
    std::istringstream stream(error.what());
    for (std::string line; std::getline(stream, line);) {
      lines.push_back(line);
    }
  }
  return lines;
}

inline std::string repeat(const std::string& piece, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) {
    text += piece;
  }
  return text;
}

/// The resolved minimal configuration as lines, so that each key stands on a line of its own.
struct Document {
  std::vector<std::string> lines;

  static Document resolved() {
    Document document;
    std::istringstream stream(to_yaml(parse(kMinimal)));
    for (std::string line; std::getline(stream, line);) {
      const size_t end = line.find_last_not_of(' ', line.find("  #"));
      document.lines.push_back(line.substr(0, end + 1));
    }
    return document;
  }
  std::string text() const {
    std::string text;
    for (const std::string& line : lines) {
      text += line + "\n";
    }
    return text;
  }
  /// Index of the line that holds a key.
  size_t find(const ConfigKey& key) const {
    size_t i = 0;
    while (lines.at(i) != key.section + ":") {
      ++i;
    }
    while (!lines.at(i).starts_with("  " + key.name + ":")) {
      ++i;
    }
    return i;
  }
};

inline std::vector<ConfigKey> all_keys() {
  static TrainConfig config;
  return list_keys(config);
}

}  // namespace enodia::testing
