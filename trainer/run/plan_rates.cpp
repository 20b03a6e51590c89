#include "trainer/run/plan_rates.h"

#include <algorithm>
#include <filesystem>
#include <string>

#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "trainer/config/cluster_file.h"
#include "trainer/forecast/layer_work.h"
#include "trainer/run/measured_rates.h"

namespace enodia {
namespace {

std::filesystem::path kept_file(const TrainConfig& config) {
  return std::filesystem::path(config.run.dir) / "rates.yaml";
}

int num_nodes(const ProcessMesh& mesh) {
  const auto nodes = mesh.replicas().nodes();
  return *std::max_element(nodes.begin(), nodes.end()) + 1;
}

/// The rates that a run kept, as YAML; empty where there are none, or of other nodes and ranks.
std::string read_kept(const TrainConfig& config, const ProcessMesh& mesh) {
  if (!std::filesystem::exists(kept_file(config))) {
    return "";
  }
  const Cluster kept = read_cluster(kept_file(config).string());
  const int nodes = num_nodes(mesh);
  const bool is_alike = kept.nodes == nodes && kept.ranks_per_node == most_ranks_a_node(mesh);
  return is_alike ? to_yaml(kept) : "";
}

}  // namespace

PlanRates open_rates(const ProcessMesh& mesh, const TrainConfig& config) {
  const PolicyEntry* const policy = config.placement_options(mesh.world_size()).policy;
  const std::string budget = config.budget_on(num_nodes(mesh));
  const bool is_priced = policy != nullptr && policy->by_prices;
  if (budget == PlacementConfig::kFixed || config.model.num_experts == 0 || !is_priced ||
      mesh.world_size() == 1) {
    return {};
  }
  const bool is_measured = budget == PlacementConfig::kMeasured;
  const std::string file = is_measured ? kept_file(config).string() : budget;
  Communicator& all = mesh.control();
  std::string text;  // from rank 0, since others may not see its files
  run_together(all, [&] {
    if (mesh.rank() == 0) {
      text = is_measured ? read_kept(config, mesh) : to_yaml(read_cluster(file));
    }
  });
  text = broadcast_text(all, text, 0);
  PlanRates rates;
  rates.fresh = text.empty();
  if (rates.fresh) {  // as it will be read again
    text = broadcast_text(all, to_yaml(measure_rates(mesh, config)), 0);
  }
  rates.machine = parse_cluster(text, file);
  if (mesh.rank() == 0) {
    log_info("plans are priced by " + describe_rates(*rates.machine) +
             " (placement.budget: " + (rates.fresh ? "measured now" : file) + ")");
  }
  return rates;
}

void check_budget(const TrainConfig& config) {
  if (!config.placement.budget_is_file()) {
    return;
  }
  try {
    read_cluster(config.placement.budget);
  } catch (const ConfigError& error) {
    throw ConfigError(std::string(error.what()) +
                      " (placement.budget is auto, fixed, measured, or "
                      "such a file)");
  }
}

void keep_rates(const PlanRates& rates, const TrainConfig& config) {
  if (rates.fresh) {
    write_file_atomically(kept_file(config),
                          "# Measured when the run began; it plans by them when it goes on.\n" +
                              to_yaml(*rates.machine));
  }
}

PlanBudget budget_of(const PlanRates& rates, const ProcessMesh& mesh, const TrainConfig& config) {
  if (!rates.machine) {
    return {};
  }
  const auto nodes = mesh.tokens().nodes();
  const Topology topology({nodes.begin(), nodes.end()});
  return plan_budget(*rates.machine,
                     static_cast<double>(topology.num_ranks()) / topology.num_nodes(),
                     layer_work(config));
}

}  // namespace enodia
