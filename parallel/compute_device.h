#pragma once

#include <c10/core/Device.h>

#include "collectives/queue.h"

namespace enodia {

/// Where a rank computes: the device of its tensors, and the queue on which LibTorch's kernels for
/// that device run. Communication starts after that queue, and its results are seen by it. By
/// default the host.
struct ComputeDevice {
  c10::Device place = c10::Device(c10::DeviceType::CPU);
  Queue queue = {};
};

}  // namespace enodia
