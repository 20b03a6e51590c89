#include "parallel/placement/cost_model.h"

#include <algorithm>

namespace enodia {
namespace {

/// Bytes in each direction.
struct LinkLoad {
  double out = 0, in = 0;
  double busier() const { return std::max(out, in); }
};

double seconds_of(const std::vector<LinkLoad>& loads, const LinkSpeed& speed) {
  double most = 0;
  for (const LinkLoad& load : loads) {
    most = std::max(most, load.busier());
  }
  return most > 0 ? speed.latency_us * 1e-6 + most / (speed.gigabytes_per_s * 1e9) : 0;
}

/// A ring of n members, each of which passes on 2 (n - 1) pieces of an n-th.
double ring_seconds(double members, double bytes, const LinkSpeed& speed) {
  if (members <= 1) {
    return 0;
  }
  const double turns = 2 * (members - 1);
  return turns * (speed.latency_us * 1e-6 + bytes / members / (speed.gigabytes_per_s * 1e9));
}

}  // namespace

double compute_seconds(const Cluster& cluster, double flops) {
  return flops / (cluster.tflops * 1e12);
}

double exchange_seconds(const Cluster& cluster, const Exchange& exchange) {
  const Topology topology = cluster.topology();
  std::vector<LinkLoad> ranks(topology.num_ranks());
  std::vector<LinkLoad> nodes(topology.num_nodes());
  for (int source = 0; source < topology.num_ranks(); ++source) {
    for (int target = 0; target < topology.num_ranks(); ++target) {
      const double bytes = exchange.of(source, target);
      const int32_t from = topology.node_of(source);
      const int32_t to = topology.node_of(target);
      if (source != target && from == to) {
        ranks[source].out += bytes;
        ranks[target].in += bytes;
      } else if (from != to) {
        nodes[from].out += bytes;
        nodes[to].in += bytes;
      }
    }
  }
  return std::max(seconds_of(ranks, cluster.inside), seconds_of(nodes, cluster.between));
}

double all_reduce_seconds(const Cluster& cluster, double bytes) {
  return ring_seconds(static_cast<double>(cluster.ranks_per_node), bytes, cluster.inside) +
         ring_seconds(static_cast<double>(cluster.nodes), bytes, cluster.between);
}

}  // namespace enodia
