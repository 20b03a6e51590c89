#pragma once

#include <span>
#include <string>
#include <vector>

#include "trainer/config/schema.h"

namespace enodia {

/// A rule between keys that a configuration breaks. The sentence names each key by its full path
/// followed by its value in parentheses: "model.num_key_value_heads (3) must divide ...".
struct BrokenRule {
  std::string sentence;
  std::vector<std::string> paths;  ///< the keys that the sentence names, in its order
};

/// Every broken rule, within the sections (their violations()) and between them.
std::vector<BrokenRule> find_broken_rules(const TrainConfig& config,
                                          std::span<const ConfigKey> keys);

/// Where the first of `paths` that was written anywhere was written, else the file as a whole.
ValueSource find_source(const TrainConfig& config, std::span<const std::string> paths);

}  // namespace enodia
