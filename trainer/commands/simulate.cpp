#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/file.h"
#include "common/json.h"
#include "trainer/commands/commands.h"

#include "simulator/generated_trace.h"
#include "simulator/replay.h"
#include "simulator/replay_policies.h"

namespace enodia {
namespace {

const TracePreset& chosen_preset(const std::string& wanted) {
  std::string known;
  for (const TracePreset& preset : trace_presets()) {
    known.append(known.empty() ? "" : ", ").append(preset.name);
    if (wanted == preset.name) {
      return preset;
    }
  }
  throw ConfigError(
      wanted.empty() ? "there is no routing to replay; name a recording with --trace, or one of " +
                           known + " with --preset"
                     : "there is no preset '" + wanted + "'; take one of " + known);
}

/// Made-up routing has two experts for each rank: its size and time grow with the square of ranks.
void check_size(const SimulateArguments& arguments) {
  constexpr int64_t kMostMadeUp = 1024;
  constexpr int64_t kMost = 65536;
  const int64_t most = arguments.trace.empty() ? kMostMadeUp : kMost;
  if (arguments.nodes > most || arguments.nodes * arguments.ranks_per_node > most) {
    throw ConfigError("--nodes (" + std::to_string(arguments.nodes) + ") times --ranks-per-node (" +
                      std::to_string(arguments.ranks_per_node) + ") must be at most " +
                      std::to_string(most) +
                      (arguments.trace.empty() ? "; more need a recording (--trace)" : ""));
  }
}

/// What is to be written, before anything is replayed. Empty = nothing is.
void check_output(const char* option, const std::string& file, const std::string& recording) {
  if (file.empty()) {
    return;
  }
  std::error_code none;  // of a file that does not exist
  const std::filesystem::path folder = std::filesystem::absolute(file).parent_path();
  if (!std::filesystem::is_directory(folder, none)) {
    throw ConfigError(std::string(option) + " " + file +
                      ": its folder does not exist; make it first");
  }
  if (!recording.empty() && std::filesystem::equivalent(file, recording, none)) {
    throw ConfigError(std::string(option) + " " + file +
                      " would replace the recording that is replayed; name another file");
  }
}

RoutingTrace chosen_trace(const SimulateArguments& arguments) {
  if (!arguments.trace.empty()) {
    return RoutingTrace::read(arguments.trace);
  }
  return on_cluster(chosen_preset(arguments.preset),
                    static_cast<int>(arguments.nodes),
                    static_cast<int>(arguments.ranks_per_node));
}

Topology topology_of(const SimulateArguments& arguments, const RoutingTrace& trace) {
  const int64_t ranks = arguments.nodes * arguments.ranks_per_node;
  if (ranks != trace.num_ranks()) {
    throw ConfigError("--nodes (" + std::to_string(arguments.nodes) + ") times --ranks-per-node (" +
                      std::to_string(arguments.ranks_per_node) + ") must be the ranks of " +
                      arguments.trace + " (" + std::to_string(trace.num_ranks()) + ")");
  }
  return Topology::uniform(static_cast<int>(arguments.nodes),
                           static_cast<int>(arguments.ranks_per_node));
}

Json to_json(const PolicyEntry& policy, const ReplaySummary& summary) {
  return {{"policy", policy.name},
          {"mean_imbalance", summary.mean_imbalance},
          {"p95_imbalance", summary.p95_imbalance},
          {"inter_node", summary.inter_node},
          {"replicas", summary.transfers},
          {"owner_moves", summary.owner_moves},
          {"plans", summary.plans}};
}

void print(const PolicyEntry& policy, const ReplaySummary& summary) {
  std::printf("%-18s %10.3f %8.3f %12.1f %% %10.1f\n",
              std::string(policy.name).c_str(),
              summary.mean_imbalance,
              summary.p95_imbalance,
              100.0 * summary.inter_node,
              summary.transfers);
}

}  // namespace

std::vector<const PolicyEntry*> find_policies(std::span<const PolicyEntry> policies,
                                              const std::string& wanted) {
  std::vector<const PolicyEntry*> chosen;
  std::string known;
  for (const PolicyEntry& entry : policies) {
    known.append(known.empty() ? "" : ", ").append(entry.name);
    if (wanted == entry.name || (wanted == "all" && !entry.by_name_alone)) {
      chosen.push_back(&entry);
    }
  }
  if (chosen.empty()) {
    throw ConfigError("there is no policy '" + wanted + "'; take all or one of " + known);
  }
  return chosen;
}

void simulate(const SimulateArguments& arguments) {
  if (arguments.nodes == 0 || arguments.ranks_per_node == 0) {
    throw ConfigError(
        "a replay needs --trace or --preset, --nodes and --ranks-per-node; a forecast needs a "
        "CONFIG and --cluster");
  }
  check_size(arguments);
  const std::vector<const PolicyEntry*> policies =
      find_policies(replay_policies(), arguments.policy);
  if (!arguments.emit_plans.empty() && policies.size() > 1) {
    throw ConfigError("--emit-plans writes the plans of one policy; name it with --policy");
  }
  check_output("--emit-plans", arguments.emit_plans, arguments.trace);
  check_output("--write-trace", arguments.write_trace, arguments.trace);
  const RoutingTrace trace = chosen_trace(arguments);
  const Topology topology = topology_of(arguments, trace);
  if (!arguments.write_trace.empty()) {
    trace.write(arguments.write_trace);
  }
  std::string plans;
  const OnPlan keep = [&](int sample, int layer, const LayerPlan& plan) {
    plans += to_json_line(sample, layer, plan) + "\n";
  };
  Json all = Json::array();
  if (!arguments.json) {
    std::printf(
        "%-18s %10s %8s %14s %10s\n", "policy", "max/mean", "p95", "inter-node", "replicas");
  }
  for (const PolicyEntry* policy : policies) {
    const ReplaySummary summary = replay(trace,
                                         *policy,
                                         topology,
                                         static_cast<int>(arguments.slots),
                                         arguments.emit_plans.empty() ? OnPlan() : keep);
    if (arguments.json) {
      all.push_back(to_json(*policy, summary));
    } else {
      print(*policy, summary);
    }
  }
  if (!arguments.emit_plans.empty()) {
    write_file_atomically(arguments.emit_plans, plans);
  }
  if (arguments.json) {
    std::puts(all.dump(1).c_str());
  }
}

}  // namespace enodia
