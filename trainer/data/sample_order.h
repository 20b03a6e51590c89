#pragma once

#include <cstdint>

namespace enodia {

/// In which order the windows of the training data are seen.
enum class SampleOrder : uint8_t { kShuffled, kSequential };

}  // namespace enodia
