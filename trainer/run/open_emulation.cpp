#include "trainer/run/open_emulation.h"

#include <filesystem>
#include <string>

#include "checkpoint/native/folders.h"
#include "common/error.h"
#include "trainer/config/cluster_file.h"

#include "simulator/routing_trace.h"

namespace enodia {
namespace {

std::shared_ptr<const ForcedCounts> open_counts(const TrainConfig& config, int world_size) {
  const std::string& path = config.router.forced_counts;
  const RoutingTrace trace = RoutingTrace::read(path);
  if (trace.num_ranks() != world_size) {
    throw ConfigError("router.forced_counts (" + path + ") is routing of " +
                      std::to_string(trace.num_ranks()) + " ranks; start as many, not " +
                      std::to_string(world_size));
  }
  if (trace.num_experts() != config.model.num_experts) {
    throw ConfigError("router.forced_counts (" + path + ") is routing for " +
                      std::to_string(trace.num_experts()) + " experts; set model.num_experts (" +
                      std::to_string(config.model.num_experts) + ") to that");
  }
  auto counts = std::make_shared<ForcedCounts>();
  counts->samples = trace.num_samples();
  counts->layers = trace.num_layers();
  counts->ranks = trace.num_ranks();
  counts->experts = trace.num_experts();
  counts->micro_batches = config.micro_batches_of_rank(world_size);
  for (int sample = 0; sample < trace.num_samples(); ++sample) {
    for (int layer = 0; layer < trace.num_layers(); ++layer) {
      const auto tokens = trace.at(sample, layer).tokens;
      counts->counts.insert(counts->counts.end(), tokens.begin(), tokens.end());
    }
  }
  return counts;
}

}  // namespace

Emulation open_emulation(const TrainConfig& config, int world_size) {
  Emulation emulation;
  if (!config.router.forced_counts.empty()) {
    emulation.counts = open_counts(config, world_size);
  }
  if (!config.train.computes()) {
    const Cluster cluster = read_cluster(config.train.virtual_compute);
    emulation.compute = std::make_shared<VirtualCompute>(1.0 / compute_seconds(cluster, 1.0),
                                                         config.train.time_dilation);
  }
  return emulation;
}

void refuse_to_resume_virtually(const TrainConfig& config) {
  const std::filesystem::path checkpoints = std::filesystem::path(config.run.dir) / "checkpoints";
  if (!config.train.computes() && newest_checkpoint(checkpoints).path) {
    throw ConfigError("run.dir (" + config.run.dir +
                      ") holds checkpoints, but with train.virtual_compute (" +
                      config.train.virtual_compute +
                      ") nothing is computed that could go on from them; run in another folder "
                      "(--fresh, or --set run.dir=...), or set train.virtual_compute to off");
  }
}

}  // namespace enodia
