#include "trainer/run/progress_mode.h"

#include <algorithm>
#include <cstdint>
#include <thread>

#include "collectives/collectives.h"

namespace enodia {
namespace {

bool has_cores_to_spare(Communicator& world) {
  const std::span<const int> nodes = world.nodes();
  const auto neighbors = std::count(nodes.begin(), nodes.end(), nodes[world.rank()]);
  const auto cores = static_cast<int64_t>(std::thread::hardware_concurrency());
  return all_reduce_value(world, int64_t{cores >= 2 * neighbors}, ReduceOp::kMin) == 1;
}

}  // namespace

std::unique_ptr<CommunicationThread> start_communication_thread(
    Communicator& world, const RunOptions& run, const CommunicationThread::Options& options) {
  const ProgressMode mode = run.device == DeviceKind::kCpu ? run.progress : ProgressMode::kInline;
  const bool wanted =
      mode == ProgressMode::kThread || (mode == ProgressMode::kAuto && has_cores_to_spare(world));
  return wanted ? std::make_unique<CommunicationThread>(options) : nullptr;
}

}  // namespace enodia
