#pragma once

#include <cstdint>

#include "common/json.h"
#include "common/memory_ledger.h"

namespace enodia {

/// Physical memory of this process as the system counts it, in bytes; 0 = unknown.
struct ResidentMemory {
  int64_t now = 0;   ///< VmRSS
  int64_t peak = 0;  ///< VmHWM, since the start of the process
};
ResidentMemory resident_memory();

/// Memory of a step.
struct MemoryRecord {
  MemoryUse tensors;         ///< of this rank; peaks are those of the step
  int64_t largest_peak = 0;  ///< of all tensors of a rank, the largest over the ranks
  ResidentMemory resident;   ///< of this rank

  /// {"parameters": .., .., "peak_total": .., "peak_total_max": .., "after_step": .., ..}
  Json to_json() const;
};

}  // namespace enodia
