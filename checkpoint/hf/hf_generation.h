#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/json.h"

namespace enodia {

/// What a generation_config.json says.
struct HfGeneration {
  std::vector<int64_t> eos;  ///< the ids at which generation ends; it may tell none
  /// The keys of what has no place in a native checkpoint, as "temperature": how to sample.
  std::vector<std::string> sampling;
};

/// Reads a generation_config.json. Throws FileError that begins with `source` for what is no such
/// file, for ids outside the vocabulary, and for values with which nothing could be sampled.
HfGeneration read_hf_generation(const Json& json, const std::string& source, int64_t vocab_size);

}  // namespace enodia
