#include "trainer/run/measured_rates.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <vector>

#include <ATen/ops/zeros.h>

#include "collectives/collectives.h"
#include "parallel/tensor_view.h"
#include "trainer/run/compute_peak.h"

#include <unistd.h>

namespace enodia {
namespace {

double two_digits(double value) {
  const double unit = std::pow(10.0, std::floor(std::log10(value)) - 1);
  return std::round(value / unit) * unit;
}

/// Bytes a second that each rank sends to one and receives from another, all at once; the peers are
/// -1 for ranks that look on.
class NeighbourProbe {
 public:
  NeighbourProbe(const ProcessMesh& mesh, int to, int from) : mesh_(mesh), to_(to), from_(from) {}

  double bytes_per_second() const {
    constexpr int64_t kFirst = int64_t{1} << 20;
    constexpr int64_t kMost = int64_t{64} << 20;
    constexpr double kSeconds = 0.02;  // long beside what a busy machine is late by
    constexpr int kRounds = 5;
    seconds_of(kFirst);  // connections are made on first use
    const auto bytes = static_cast<int64_t>(kFirst * kSeconds / seconds_of(kFirst));
    const int64_t chosen = std::clamp(bytes, kFirst, kMost);
    double shortest = seconds_of(chosen);
    for (int round = 1; round < kRounds; ++round) {
      shortest = std::min(shortest, seconds_of(chosen));
    }
    return static_cast<double>(chosen) / shortest;
  }

 private:
  /// Of the slowest rank.
  double seconds_of(int64_t bytes) const {
    const auto options = at::TensorOptions().dtype(at::kByte).device(mesh_.device().place);
    const at::Tensor out = at::zeros({to_ >= 0 ? bytes : 0}, options);
    const at::Tensor in = at::zeros({from_ >= 0 ? bytes : 0}, options);
    std::vector<Message> sends;
    std::vector<Message> receives;
    if (to_ >= 0) {
      sends.push_back({to_, view(out)});
    }
    if (from_ >= 0) {
      receives.push_back({from_, view(in)});
    }
    mesh_.control().barrier();
    const auto start = std::chrono::steady_clock::now();
    mesh_.replicas().exchange(sends, receives, mesh_.device().queue).wait();
    const double mine =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::max(1e-9, all_reduce_value(mesh_.control(), mine, ReduceOp::kMax));
  }

  const ProcessMesh& mesh_;
  int to_, from_;
};

/// The ranks of each node, in order of the nodes' first ranks.
std::vector<std::vector<int>> ranks_of_nodes(std::span<const int> nodes) {
  std::vector<std::vector<int>> ranks(*std::max_element(nodes.begin(), nodes.end()) + 1);
  for (int rank = 0; rank < std::ssize(nodes); ++rank) {
    ranks[nodes[rank]].push_back(rank);
  }
  return ranks;
}

double inside_node(const ProcessMesh& mesh, const std::vector<int>& near) {
  const auto mine = std::find(near.begin(), near.end(), mesh.rank()) - near.begin();
  const auto others = std::ssize(near);
  const bool alone = others == 1;
  return NeighbourProbe(mesh,
                        alone ? -1 : near[(mine + 1) % others],
                        alone ? -1 : near[(mine + others - 1) % others])
      .bytes_per_second();
}

/// Of a whole node: as many of its ranks send as the smallest node has.
double between_nodes(const ProcessMesh& mesh, const std::vector<std::vector<int>>& ranks) {
  const auto& smallest = *std::min_element(
      ranks.begin(), ranks.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  const int node = mesh.replicas().nodes()[mesh.rank()];
  const auto mine =
      std::find(ranks[node].begin(), ranks[node].end(), mesh.rank()) - ranks[node].begin();
  const bool sends = mine < std::ssize(smallest);
  const auto nodes = std::ssize(ranks);
  return static_cast<double>(smallest.size()) *
         NeighbourProbe(mesh,
                        sends ? ranks[(node + 1) % nodes][mine] : -1,
                        sends ? ranks[(node + nodes - 1) % nodes][mine] : -1)
             .bytes_per_second();
}

double memory_gb() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE)) /
         1e9;
}

}  // namespace

int64_t most_ranks_a_node(const ProcessMesh& mesh) {
  int64_t most = 0;
  for (const std::vector<int>& node : ranks_of_nodes(mesh.replicas().nodes())) {
    most = std::max<int64_t>(most, std::ssize(node));
  }
  return most;
}

Cluster measure_rates(const ProcessMesh& mesh, const TrainConfig& config) {
  Communicator& all = mesh.control();
  const std::vector<std::vector<int>> ranks = ranks_of_nodes(mesh.replicas().nodes());
  const std::vector<int>& near = ranks[mesh.replicas().nodes()[mesh.rank()]];
  const bool has_neighbours =
      std::any_of(ranks.begin(), ranks.end(), [](const auto& node) { return node.size() > 1; });
  Cluster rates;
  rates.name = "measured";
  rates.nodes = std::ssize(ranks);
  rates.ranks_per_node = most_ranks_a_node(mesh);
  rates.memory_gb = two_digits(memory_gb() / static_cast<double>(rates.ranks_per_node));
  all.barrier();
  const double product =
      config.run.peak_tflops > 0
          ? config.run.peak_tflops
          : measure_product(scalar_type(config.model.dtype), mesh.device()) / 1e12;
  rates.tflops = two_digits(all_reduce_value(all, product, ReduceOp::kSum) / mesh.world_size());
  const double inside = has_neighbours ? inside_node(mesh, near) / 1e9 : 0;
  const double between = rates.nodes > 1 ? between_nodes(mesh, ranks) / 1e9 : inside;
  rates.inside.gigabytes_per_s = two_digits(has_neighbours ? inside : std::max(between, 1e-3));
  rates.between.gigabytes_per_s = two_digits(std::max(between, 1e-3));
  return rates;
}

}  // namespace enodia
