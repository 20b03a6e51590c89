#pragma once

#include <cstdint>

#include "tests/references/reference_model.h"

/// Small problems for tests, the same on every machine for one seed.
namespace enodia {

/// Norm weights near 1, biases and all else near 0, large enough that every part of the model
/// matters: the standard deviations are 0.2 and 0.5, not the 0.02 of a real start.
NamedTensors random_parameters(const ReferenceOptions& options, uint64_t seed);

/// One segment for each length, filled with random tokens; each token's label is the next token of
/// its segment, the last one's is -1.
ReferenceMicroBatch random_micro_batch(const ReferenceOptions& options,
                                       const std::vector<int64_t>& segment_lengths,
                                       uint64_t seed);

}  // namespace enodia
