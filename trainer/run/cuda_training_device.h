#pragma once

#include <memory>

#include "trainer/run/training_device.h"

namespace enodia {

/// See open_training_device.
std::unique_ptr<TrainingDevice> open_cuda_training_device(Communicator& world);

}  // namespace enodia
