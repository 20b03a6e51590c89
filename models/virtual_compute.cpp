#include "models/virtual_compute.h"

#include <chrono>
#include <thread>

namespace enodia {

void VirtualCompute::spend(double flops) const {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds_of(flops)));
}

void VirtualBlock::forward(BlockState& state, int /*phase*/) {
  compute_->spend(flops_(state.layout));
}

void VirtualBlock::backward(BlockState& state, int /*phase*/) {
  compute_->spend(kBackwardOverForward * flops_(state.layout));
}

}  // namespace enodia
