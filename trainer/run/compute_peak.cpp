#include "trainer/run/compute_peak.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <string>

#include <ATen/ops/ones.h>

#include "collectives/collectives.h"
#include "collectives/queue_event.h"
#include "common/log.h"
#include "models/ops.h"
#include "parallel/tensor_view.h"

namespace enodia {
namespace {

std::string in_teraflops(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g TFLOP/s", value);
  return text.data();
}

}  // namespace

double measure_product(at::ScalarType type, const ComputeDevice& device) {
  using Clock = std::chrono::steady_clock;
  // On a CPU three matrices of 0.9 MB, whole tiles of the kernels; a GPU wants more at once.
  const int64_t size = device.place.is_cpu() ? 480 : 4096;
  constexpr std::chrono::milliseconds kTime(40);
  const at::Tensor matrix =
      at::ones({size, size}, at::TensorOptions().dtype(type).device(device.place));
  const auto multiply = [&] {
    ops::linear(matrix, matrix);
    QueueEvent(device.queue).synchronize();
  };
  multiply();  // warms up threads and caches
  Clock::duration shortest = Clock::duration::max();
  const Clock::time_point begin = Clock::now();
  for (Clock::time_point start = begin; start - begin < kTime;) {
    multiply();
    const Clock::time_point end = Clock::now();
    shortest = std::min(shortest, end - start);
    start = end;
  }
  const double seconds = std::chrono::duration<double>(shortest).count();
  return 2.0 * static_cast<double>(size * size * size) / std::max(seconds, 1e-9);
}

double peak_tflops(const ProcessMesh& mesh, const TrainConfig& config) {
  Communicator& world = mesh.control();
  double mine = config.run.peak_tflops;
  const bool measured = mine == 0;
  if (measured) {
    world.barrier();
    mine = measure_product(scalar_type(config.model.dtype), mesh.device()) / 1e12;
  }
  const double all = all_reduce_value(world, mine, ReduceOp::kSum);
  log_info("mfu is a fraction of " + in_teraflops(all) + ", " +
           (measured ? "measured" : "run.peak_tflops") + " on " +
           std::to_string(world.world_size()) + " ranks");
  return all;
}

}  // namespace enodia
