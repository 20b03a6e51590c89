#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/placement/topology.h"

namespace enodia {

/// What messages over a link cost.
struct LinkSpeed {
  double gigabytes_per_s = 1;  ///< in each direction
  double latency_us = 0;       ///< one way
};

/// A machine of equal nodes, as far as the time of a step depends on it.
struct Cluster {
  std::string name;
  int64_t nodes = 1;
  int64_t ranks_per_node = 1;
  double tflops = 1;     ///< that a rank reaches in products of matrices
  double memory_gb = 1;  ///< of a rank
  LinkSpeed inside;      ///< of each rank to the others of its node
  LinkSpeed between;     ///< of each node, all its ranks together, to the others

  int num_ranks() const { return static_cast<int>(nodes * ranks_per_node); }
  Topology topology() const {
    return Topology::uniform(static_cast<int>(nodes), static_cast<int>(ranks_per_node));
  }
};

/// Bytes that ranks send each other at once.
class Exchange {
 public:
  explicit Exchange(int num_ranks)
      : num_ranks_(num_ranks),
        bytes_(static_cast<size_t>(num_ranks) * num_ranks, 0.0) {}
  void add(int source, int target, double bytes) { bytes_[source * num_ranks_ + target] += bytes; }
  double of(int source, int target) const { return bytes_[source * num_ranks_ + target]; }

 private:
  int num_ranks_;
  std::vector<double> bytes_;
};

/// Floating-point operations of one rank.
double compute_seconds(const Cluster& cluster, double flops);

/// Of an exchange: the time of the busiest link in its busier direction, which all links work
/// beside, and one latency. What stays on a rank takes none.
double exchange_seconds(const Cluster& cluster, const Exchange& exchange);

/// Of summing `bytes` that each rank has over all ranks, by a ring over the nodes and one inside
/// each: 2 (n - 1) / n of the bytes over every link.
double all_reduce_seconds(const Cluster& cluster, double bytes);

}  // namespace enodia
