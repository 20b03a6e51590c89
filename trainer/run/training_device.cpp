#include "trainer/run/training_device.h"

#include "trainer/run/cuda_training_device.h"

namespace enodia {
namespace {

class HostDevice : public TrainingDevice {
 public:
  ComputeDevice compute() override { return {}; }
  std::unique_ptr<Communicator> reach(std::unique_ptr<Communicator> host, Traffic) override {
    return host;
  }
};

}  // namespace

std::unique_ptr<TrainingDevice> open_training_device(Communicator& world, DeviceKind kind) {
  if (kind == DeviceKind::kCuda) {
    return open_cuda_training_device(world);
  }
  return std::make_unique<HostDevice>();
}

}  // namespace enodia
