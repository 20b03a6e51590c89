#pragma once

#include <string>

#include "parallel/placement/cost_model.h"

namespace enodia {

/// Reads the YAML text of a cluster file (configs/clusters/*.yaml) strictly. Local. Throws
/// ConfigError that lists every problem with its place, one a line.
Cluster parse_cluster(const std::string& yaml_text, const std::string& file_name);

/// The same of a file. Throws ConfigError, also when there is none.
Cluster read_cluster(const std::string& path);

/// What parse_cluster reads, without latencies.
std::string to_yaml(const Cluster& cluster);

/// In words: "0.082 TFLOP/s a rank, 3.1 GB/s inside a node, 0.012 between nodes".
std::string describe_rates(const Cluster& cluster);

}  // namespace enodia
