#include "trainer/run/cuda_training_device.h"

#include <algorithm>
#include <string>
#include <utility>

#include "collectives/nccl/nccl_available.h"
#include "collectives/run_together.h"

#ifdef ENODIA_WITH_NCCL
#include "collectives/decorators/by_memory.h"
#include "collectives/nccl/nccl_communicator.h"
#include "trainer/run/cuda_compute.h"
#endif

namespace enodia {

#ifdef ENODIA_WITH_NCCL

namespace {

/// The number of a rank among those of its node.
int place_on_node(const Communicator& world) {
  const auto nodes = world.nodes();
  return static_cast<int>(
      std::count(nodes.begin(), nodes.begin() + world.rank(), nodes[world.rank()]));
}

class CudaTrainingDevice : public TrainingDevice {
 public:
  explicit CudaTrainingDevice(int index) : nccl_(load_nccl_table()), cuda_(index) {}

  ComputeDevice compute() override { return cuda_.compute(); }

  std::unique_ptr<Communicator> reach(std::unique_ptr<Communicator> host,
                                      Traffic traffic) override {
    if (traffic == Traffic::kControl) {
      return host;
    }
    auto for_host = host->split(0, host->rank());
    return make_by_memory(
        std::move(for_host),
        make_nccl_communicator(nccl_, cuda_.device(), enqueuer_, std::move(host)));
  }

 private:
  NcclTable nccl_;
  CudaCompute cuda_;
  NcclEnqueuer enqueuer_;
};

}  // namespace

std::unique_ptr<TrainingDevice> open_cuda_training_device(Communicator& world) {
  std::unique_ptr<TrainingDevice> device;
  run_together(world, [&] {
    open_cuda_kernels();
    const int index = place_on_node(world);
    if (index >= CudaCompute::count()) {
      throw ConfigError(
          "run.device (cuda) gives every rank a GPU of its own, but this machine has " +
          std::to_string(CudaCompute::count()) + " for at least " + std::to_string(index + 1) +
          " ranks; start no more ranks on a machine than it has GPUs");
    }
    device = std::make_unique<CudaTrainingDevice>(index);
  });
  return device;
}

#else

std::unique_ptr<TrainingDevice> open_cuda_training_device(Communicator& world) {
  run_together(world, [] {
    throw ConfigError("run.device (cuda) cannot be used: " + nccl_available().why_not);
  });
  return nullptr;
}

#endif

}  // namespace enodia
