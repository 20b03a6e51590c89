#include "trainer/config/cluster_file.h"

#include <filesystem>
#include <functional>
#include <sstream>
#include <utility>
#include <vector>

#include "common/error.h"
#include "common/file.h"
#include "common/wording.h"
#include "trainer/config/train_config.h"
#include "trainer/config/value_rules.h"
#include "trainer/config/yaml_tree.h"

namespace enodia {
namespace {

constexpr int64_t kMaxRanks = int64_t{1} << 16;

/// A key of a cluster file, bound to its field. All but latencies are required.
struct ClusterKey {
  std::string name;
  std::string meaning;
  bool required = true;
  std::function<std::string(const YamlNode&)> read;
};

std::vector<ClusterKey> list_cluster_keys(Cluster& cluster) {
  const auto count = [](int64_t& field) {
    return [&field](const YamlNode& node) {
      return read_value(node, IntegerRule{1, kMaxRanks, {}}, field);
    };
  };
  const auto real = [](double& field, bool may_be_zero = false) {
    return [&field, may_be_zero](const YamlNode& node) {
      return read_value(node, RealRule{.min = 0, .min_excluded = !may_be_zero}, field);
    };
  };
  return {
      {"nodes", "nodes of the cluster", true, count(cluster.nodes)},
      {"ranks_per_node", "ranks of each node", true, count(cluster.ranks_per_node)},
      {"tflops", "TFLOP/s that a rank reaches in products", true, real(cluster.tflops)},
      {"memory_gb", "GB of memory of a rank", true, real(cluster.memory_gb)},
      {"inside_gb_s",
       "GB/s of a rank to its node's others, each way",
       true,
       real(cluster.inside.gigabytes_per_s)},
      {"between_gb_s",
       "GB/s of a whole node to the others, each way",
       true,
       real(cluster.between.gigabytes_per_s)},
      {"inside_latency_us",
       "one way, inside a node",
       false,
       real(cluster.inside.latency_us, /*may_be_zero=*/true)},
      {"between_latency_us",
       "one way, between nodes",
       false,
       real(cluster.between.latency_us, /*may_be_zero=*/true)},
  };
}

std::string explain_unknown(const std::string& key, const std::vector<ClusterKey>& keys) {
  std::vector<std::string> names;
  std::string all;
  for (const ClusterKey& known : keys) {
    names.push_back(known.name);
    all += (all.empty() ? "" : ", ") + known.name;
  }
  const std::string nearest = nearest_word(key, names);
  return "a cluster has no key " + quote(key) +
         (nearest.empty() ? "; its keys are " + all : "; did you mean " + quote(nearest) + "?");
}

/// Reads one key and ticks it off; gives what is wrong with it, if anything.
std::string read_item(const YamlNode& item, std::vector<ClusterKey>& keys) {
  for (ClusterKey& key : keys) {
    if (key.name == item.key) {
      key.required = false;
      const std::string refusal =
          item.kind == YamlNode::Kind::kNull ? "has no value" : key.read(item);
      return refusal.empty() ? "" : key.name + " " + refusal;
    }
  }
  return explain_unknown(item.key, keys);
}

}  // namespace

Cluster parse_cluster(const std::string& yaml_text, const std::string& file_name) {
  Cluster cluster;
  cluster.name = std::filesystem::path(file_name).stem().string();
  std::vector<ClusterKey> keys = list_cluster_keys(cluster);
  std::vector<ConfigProblem> problems;
  const YamlTree tree = parse_yaml(yaml_text);
  for (const YamlComplaint& complaint : tree.complaints) {
    problems.push_back(
        {ValueSource{file_name, complaint.line, complaint.column}.place(), complaint.sentence});
  }
  if (tree.root.kind != YamlNode::Kind::kMap && problems.empty()) {
    problems.push_back({file_name, "a cluster file must be a mapping of keys, such as nodes: 4"});
  }
  throw_problems(problems);
  for (const YamlNode& item : tree.root.items) {
    std::string refusal = read_item(item, keys);
    if (!refusal.empty()) {
      problems.push_back(
          {ValueSource{file_name, item.key_line, item.key_column}.place(), std::move(refusal)});
    }
  }
  for (const ClusterKey& key : keys) {
    if (key.required) {
      problems.push_back({file_name, key.name + " is missing (" + key.meaning + ")"});
    }
  }
  if (cluster.nodes > kMaxRanks / cluster.ranks_per_node) {
    problems.push_back({file_name,
                        "nodes (" + std::to_string(cluster.nodes) + ") times ranks_per_node (" +
                            std::to_string(cluster.ranks_per_node) + ") must be at most " +
                            std::to_string(kMaxRanks)});
  }
  throw_problems(problems);
  return cluster;
}

std::string to_yaml(const Cluster& cluster) {
  std::ostringstream text;
  text << "nodes: " << cluster.nodes << "\nranks_per_node: " << cluster.ranks_per_node
       << "\ntflops: " << cluster.tflops << "\nmemory_gb: " << cluster.memory_gb
       << "\ninside_gb_s: " << cluster.inside.gigabytes_per_s
       << "\nbetween_gb_s: " << cluster.between.gigabytes_per_s << '\n';
  return text.str();
}

std::string describe_rates(const Cluster& cluster) {
  std::ostringstream text;
  text << cluster.tflops << " TFLOP/s a rank, " << cluster.inside.gigabytes_per_s
       << " GB/s inside a node, " << cluster.between.gigabytes_per_s << " between nodes";
  return text.str();
}

Cluster read_cluster(const std::string& path) {
  try {
    return parse_cluster(read_file(path, int64_t{1} << 20), path);
  } catch (const FileError& error) {
    throw ConfigError(std::string(error.what()) +
                      "; a cluster is a YAML file such as configs/clusters/dgx-h100.yaml");
  }
}

}  // namespace enodia
