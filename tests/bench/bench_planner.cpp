// Times the planner of a placement policy on made-up routing: microseconds of a layer for stage A
// and stage B, median and 99th percentile, in CPU time of this thread, and allocations of a layer
// in the second half of the run. Usage: bench_planner [POLICY [EXPERTS NODES RANKS_PER_NODE SLOTS]]
//
// Limits that Enodia's policy is to keep on a processor that is otherwise idle: 50 us for stage A
// and 20 us for stage B with 256 experts on 64 ranks; 250 us with 1024 ranks.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "parallel/placement/node_counts.h"
#include "parallel/placement/policy.h"

#include "simulator/generated_trace.h"
#include <time.h>

namespace {

int64_t allocations = 0;

}  // namespace

void* operator new(size_t size) {
  ++allocations;
  void* const memory = std::malloc(size);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}

namespace enodia {
namespace {

double microseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

std::string quantiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  char text[64];
  std::snprintf(text,
                sizeof(text),
                "%8.1f us (p99 %8.1f)",
                values[values.size() / 2],
                values[values.size() * 99 / 100]);
  return text;
}

void time_policy(const PolicyEntry& policy, int experts, int nodes, int ranks_per_node, int slots) {
  const RoutingTrace trace = generate_trace({.samples = 26,
                                             .layers = 4,
                                             .ranks = nodes * ranks_per_node,
                                             .experts = experts,
                                             .tokens = 4096,
                                             .decay = 0.02,
                                             .drift = 0.05});
  const Topology topology = Topology::uniform(nodes, ranks_per_node);
  NodeCounts sums(nodes, experts);
  const auto planner = policy.make({topology,
                                    trace.num_layers(),
                                    experts,
                                    slots,
                                    block_owners(trace.num_layers(), experts, trace.num_ranks())});
  std::vector<double> before_gate;
  std::vector<double> after_gate;
  std::vector<double> allocated;
  Replicas predicted;
  LayerPlan plan;
  for (int sample = 0; sample < trace.num_samples(); ++sample) {
    for (int layer = 0; layer < trace.num_layers(); ++layer) {
      const LayerCounts of_ranks = trace.at(sample, layer);
      sums.assign(of_ranks, topology);
      // As counts are exchanged in training.
      const LayerCounts counts =
          policy.reads == CountsReach::kRanks ? of_ranks : LayerCounts{experts, sums.tokens()};
      planner->predict(layer, predicted);
      const int64_t allocations_before = allocations;
      const double start = microseconds();
      planner->resolve(layer, counts, predicted, plan);
      const double resolved = microseconds();
      planner->observe(layer, counts);  // and the replicas of the next micro-batch with it
      const int64_t more = allocations - allocations_before;
      if (sample > trace.num_samples() / 2) {
        allocated.push_back(static_cast<double>(more));
      }
      if (sample > 0) {
        after_gate.push_back(resolved - start);
        before_gate.push_back(microseconds() - resolved);
      }
    }
  }
  std::printf("%-16s %4d experts on %2d x %2d ranks, %d slots: A %s  B %s  %.1f allocations\n",
              std::string(policy.name).c_str(),
              experts,
              nodes,
              ranks_per_node,
              slots,
              quantiles(before_gate).c_str(),
              quantiles(after_gate).c_str(),
              std::accumulate(allocated.begin(), allocated.end(), 0.0) /
                  static_cast<double>(allocated.size()));
}

}  // namespace
}  // namespace enodia

int main(int argc, char** argv) {
  const std::string wanted = argc > 1 ? argv[1] : "enodia";
  const auto argument = [&](int at, int otherwise) {
    return argc > at ? std::atoi(argv[at]) : otherwise;
  };
  for (const enodia::PolicyEntry& policy : enodia::placement_policies()) {
    if (policy.name == wanted) {
      enodia::time_policy(policy, argument(2, 256), argument(3, 8), argument(4, 8), argument(5, 2));
    }
  }
  return 0;
}
