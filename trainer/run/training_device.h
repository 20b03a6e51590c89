#pragma once

#include <memory>

#include "collectives/communicator.h"
#include "collectives/traffic.h"
#include "parallel/compute_device.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// What a rank of a training run computes on, and how its memory gets to other ranks. Outlives the
/// run's tensors and communicators.
class TrainingDevice {
 public:
  virtual ~TrainingDevice() = default;
  virtual ComputeDevice compute() = 0;
  /// A communicator that takes memory of this device too, out of one for the host's, where
  /// `traffic` moves any. Collective over its ranks.
  virtual std::unique_ptr<Communicator> reach(std::unique_ptr<Communicator> host,
                                              Traffic traffic) = 0;
};

/// The device that run.device names. For cuda: opens LibTorch's CUDA library and NCCL, before
/// anything else asks LibTorch for a device, and takes the GPU whose number is that of the rank
/// among the ranks of its node. Throws SharedError on all ranks when one cannot. Collective.
std::unique_ptr<TrainingDevice> open_training_device(Communicator& world, DeviceKind kind);

}  // namespace enodia
