#pragma once

#include <memory>

#include "models/router/forced_counts.h"
#include "models/virtual_compute.h"

namespace enodia {

/// What stands for a real run where placement is measured; by default nothing does.
struct Emulation {
  std::shared_ptr<const ForcedCounts> counts;     ///< null: routers decide
  std::shared_ptr<const VirtualCompute> compute;  ///< null: ranks compute. Not with tp above 1
};

}  // namespace enodia
