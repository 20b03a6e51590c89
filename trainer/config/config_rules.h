#pragma once

#include <span>
#include <string>
#include <vector>

#include "trainer/config/schema.h"

namespace enodia {

/// A rule between keys, or on one key beyond its range, and the keys that its sentence names.
struct KeyRule {
  std::string sentence;
  std::vector<std::string> paths;  ///< in the sentence's order
};

/// Every rule that `config` breaks, within sections and between them, those on ranks too unless
/// world_size is 0. Each key stands by its full path and value: "parallel.ep (3) must divide ...".
std::vector<KeyRule> find_broken_rules(const TrainConfig& config, int world_size);

/// Every rule there is, without values: "parallel.ep must divide the number of ranks".
std::vector<KeyRule> list_rules();

/// Where the first of `paths` that was written anywhere was written, else the file as a whole.
ValueSource find_source(const TrainConfig& config, std::span<const std::string> paths);

}  // namespace enodia
