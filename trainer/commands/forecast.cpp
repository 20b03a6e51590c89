#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/json.h"
#include "common/log.h"
#include "trainer/commands/commands.h"
#include "trainer/config/cluster_file.h"
#include "trainer/forecast/memory_forecast.h"
#include "trainer/forecast/step_forecast.h"
#include "trainer/run/start.h"

namespace enodia {
namespace {

/// What a policy would take.
struct PolicyForecast {
  std::string policy;
  StepForecast step;
  RankMemory memory;  // of the fullest rank
};

TrainConfig read_forecast_config(const SimulateArguments& arguments,
                                 const Cluster& cluster,
                                 const PartNames& parts) {
  TrainConfig config = parse_train_config(read_config_file(arguments.config),
                                          arguments.config,
                                          arguments.overrides,
                                          cluster.num_ranks(),
                                          parts);
  if (config.model.num_experts == 0) {
    throw ConfigError("model.num_experts is 0; placement is forecast for models with experts");
  }
  if (config.model.vocab_size == 0) {
    throw ConfigError(
        "model.vocab_size is 0, which the training data would decide; give it a number with --set "
        "model.vocab_size=...");
  }
  if (!config.model.is_built_in()) {
    throw ConfigError("nothing is foretold of models with parts of one's own (model.attention " +
                      config.model.attention + ", model.router " + config.model.router + ")");
  }
  return config;
}

/// A step is foretold where each expert lives with its owner alone. Plain expert parallelism keeps
/// several copies where experts are fewer than ranks: it is left out of all then.
void check_layout(const TrainConfig& config,
                  const Cluster& cluster,
                  std::vector<const PolicyEntry*>& policies) {
  const std::string ranks = std::to_string(cluster.num_ranks());
  if (config.parallel.expert_ranks(cluster.num_ranks()) != cluster.num_ranks()) {
    throw ConfigError("a forecast knows experts over all ranks, not over parallel.ep (" +
                      std::to_string(config.parallel.ep) + ") of " + ranks +
                      "; set parallel.ep to auto");
  }
  if (config.model.num_experts < cluster.num_ranks()) {
    const bool is_left_out = std::erase_if(policies, [](const PolicyEntry* policy) {
                               return policy->name == PlacementConfig::kOwners;
                             }) > 0;
    if (policies.empty()) {
      throw ConfigError("policy owners keeps copies of " +
                        std::to_string(config.model.num_experts) + " experts on " + ranks +
                        " ranks, which a forecast does not know; take another policy");
    }
    if (is_left_out) {
      log_info("policy owners keeps copies of experts that are fewer than ranks: it is left out");
    }
  }
}

PolicyForecast forecast_policy(TrainConfig config,
                               const Cluster& cluster,
                               const RoutingTrace& trace,
                               const PolicyEntry& policy) {
  config.placement.policy = policy.name;
  const std::vector<RankMemory> ranks = forecast_memory(config, cluster.num_ranks());
  const auto fullest =
      std::max_element(ranks.begin(), ranks.end(), [](const RankMemory& a, const RankMemory& b) {
        return a.total() < b.total();
      });
  return {std::string(policy.name), forecast_step(config, cluster, trace, policy), *fullest};
}

Json to_json(const PolicyForecast& forecast, const Cluster& cluster) {
  Json json{{"policy", forecast.policy}};
  json.update(forecast.step.to_json());
  json["memory_bytes"] = forecast.memory.to_json();
  json["fits"] = static_cast<double>(forecast.memory.total()) <= cluster.memory_gb * 1e9;
  return json;
}

void print_heading(const Cluster& cluster) {
  std::printf("%s: %lld nodes x %lld ranks, %g TFLOP/s a rank, %g GB/s inside a node, %g between\n",
              cluster.name.c_str(),
              static_cast<long long>(cluster.nodes),
              static_cast<long long>(cluster.ranks_per_node),
              cluster.tflops,
              cluster.inside.gigabytes_per_s,
              cluster.between.gigabytes_per_s);
  std::printf("%-18s %9s %9s %9s %9s %9s %9s %8s %8s\n",
              "policy",
              "step ms",
              "attention",
              "experts",
              "tokens",
              "replicas",
              "gradients",
              "max/mean",
              "GB");
}

void print(const PolicyForecast& forecast, const Cluster& cluster) {
  const StepForecast& step = forecast.step;
  const double gigabytes = static_cast<double>(forecast.memory.total()) / 1e9;
  std::printf("%-18s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %8.3f %8.2f%s\n",
              forecast.policy.c_str(),
              1e3 * step.total(),
              1e3 * step.attention,
              1e3 * step.experts,
              1e3 * step.tokens,
              1e3 * step.replicas,
              1e3 * step.gradients,
              step.imbalance,
              gigabytes,
              gigabytes <= cluster.memory_gb ? "" : "  does not fit");
}

}  // namespace

void forecast(const SimulateArguments& arguments, const PartNames& parts) {
  if (arguments.cluster.empty()) {
    throw ConfigError("a forecast needs --cluster FILE, such as configs/clusters/dgx-h100.yaml");
  }
  std::vector<const PolicyEntry*> policies = find_policies(placement_policies(), arguments.policy);
  const Cluster cluster = read_cluster(arguments.cluster);
  const TrainConfig config = read_forecast_config(arguments, cluster, parts);
  const RoutingTrace trace =
      arguments.trace.empty() ? zipf_trace(config, cluster.num_ranks(), config.router.forced_skew)
                              : RoutingTrace::read(arguments.trace);
  check_layout(config, cluster, policies);
  if (!arguments.json) {
    print_heading(cluster);
  }
  Json all = Json::array();
  for (const PolicyEntry* policy : policies) {
    const PolicyForecast foretold = forecast_policy(config, cluster, trace, *policy);
    if (arguments.json) {
      all.push_back(to_json(foretold, cluster));
    } else {
      print(foretold, cluster);
    }
  }
  if (arguments.json) {
    std::puts(all.dump(1).c_str());
  }
}

}  // namespace enodia
