#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "common/error.h"
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

}  // namespace enodia::testing
