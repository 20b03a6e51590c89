#include "parallel/placement/quota_solver.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace enodia {
namespace {

struct QuotaProblem {
  Topology topology{{0}};
  LayerCounts counts;
  std::vector<int32_t> tokens, owners;
  int slots = 0;
};

/// Nodes of one to four ranks; some experts without a token.
QuotaProblem random_quota_problem(std::mt19937& random) {
  QuotaProblem problem;
  std::vector<int> nodes;
  const int num_nodes = 1 + static_cast<int>(random() % 4);
  for (int node = 0; node < num_nodes; ++node) {
    nodes.insert(nodes.end(), 1 + random() % 4, node);
  }
  problem.topology = Topology(nodes);
  const int experts = 1 + static_cast<int>(random() % 12);
  for (size_t i = 0; i < nodes.size() * experts; ++i) {
    problem.tokens.push_back(random() % 3 == 0 ? 0 : static_cast<int32_t>(random() % 200));
  }
  for (int expert = 0; expert < experts; ++expert) {
    problem.owners.push_back(static_cast<int32_t>(random() % nodes.size()));
  }
  problem.slots = 1 + static_cast<int>(random() % 3);
  problem.counts = {experts, problem.tokens};
  return problem;
}

/// What a solver says of itself.
struct Facts {
  Replicas replicas;
  std::vector<int64_t> quotas, loads;
  int64_t num_replicas, inter_node, most_crossing, num_away, most_away, most_near;
  bool operator==(const Facts&) const = default;
};

Facts facts_of(const QuotaSolver& solver, const QuotaProblem& problem) {
  Facts facts{{},
              {},
              {},
              solver.num_replicas(),
              solver.inter_node(),
              solver.most_crossing(),
              solver.num_away(),
              solver.most_away(),
              solver.most_near()};
  solver.copy_replicas(facts.replicas);
  for (int32_t rank = 0; rank < problem.topology.num_ranks(); ++rank) {
    facts.loads.push_back(solver.load(rank));
    for (int expert = 0; expert < problem.counts.num_experts; ++expert) {
      facts.quotas.push_back(solver.quota(expert, rank));
    }
  }
  return facts;
}

/// The same from replicas and quotas alone.
void expect_consistent(const QuotaSolver& solver, const QuotaProblem& problem) {
  const Topology& topology = problem.topology;
  const int experts = problem.counts.num_experts;
  const NodeCounts counts(problem.counts, topology);
  const Facts facts = facts_of(solver, problem);
  std::vector<int64_t> loads(topology.num_ranks(), 0), crossing(topology.num_nodes(), 0);
  std::vector<int64_t> arrives(topology.num_ranks(), 0), leaves(topology.num_ranks(), 0);
  std::vector<int64_t> comes(topology.num_nodes(), 0), goes(topology.num_nodes(), 0);
  for (int expert = 0; expert < experts; ++expert) {
    std::vector<int64_t> held(topology.num_nodes(), 0);
    std::vector<bool> is_in(topology.num_nodes(), false);
    for (int32_t rank = 0; rank < topology.num_ranks(); ++rank) {
      const int64_t quota = facts.quotas[rank * experts + expert];
      EXPECT_GE(quota, 0);
      loads[rank] += quota;
      held[topology.node_of(rank)] += quota;
    }
    EXPECT_EQ(std::accumulate(held.begin(), held.end(), int64_t{0}), counts.of_expert(expert));
    for (const int32_t rank : facts.replicas[expert]) {
      ++arrives[rank];
      leaves[problem.owners[expert]] +=
          topology.node_of(rank) == topology.node_of(problem.owners[expert]) ? 1 : 0;
      is_in[topology.node_of(rank)] = true;
    }
    const int home = topology.node_of(problem.owners[expert]);
    for (int node = 0; node < topology.num_nodes(); ++node) {
      crossing[node] += std::abs(held[node] - counts.of(node, expert));
      comes[node] += is_in[node] && node != home ? 1 : 0;
      goes[home] += is_in[node] && node != home ? 1 : 0;
    }
  }
  EXPECT_EQ(facts.loads, loads);
  EXPECT_EQ(facts.inter_node, std::accumulate(crossing.begin(), crossing.end(), int64_t{0}) / 2);
  EXPECT_EQ(facts.most_crossing, *std::max_element(crossing.begin(), crossing.end()));
  EXPECT_EQ(facts.num_away, std::accumulate(comes.begin(), comes.end(), int64_t{0}));
  EXPECT_EQ(facts.most_near,
            std::max(*std::max_element(arrives.begin(), arrives.end()),
                     *std::max_element(leaves.begin(), leaves.end())));
  EXPECT_EQ(facts.most_away,
            std::max(*std::max_element(comes.begin(), comes.end()),
                     *std::max_element(goes.begin(), goes.end())));
}

/// Adds or removes a replica; false where neither is possible.
bool change(QuotaSolver& solver, const QuotaProblem& problem, std::mt19937& random) {
  const auto expert = static_cast<int32_t>(random() % problem.owners.size());
  const auto rank = static_cast<int32_t>(random() % problem.topology.num_ranks());
  if (problem.owners[expert] == rank) {
    return false;
  }
  if (solver.is_on(expert, rank)) {
    solver.remove({expert, rank});
    return true;
  }
  if (solver.has_free_slot(rank)) {
    solver.add({expert, rank});
    return true;
  }
  return false;
}

/// Tokens that the slowest rank has at the least: for some ranks, those of all experts that no
/// other rank holds, divided among them.
int64_t least_of_slowest(const QuotaSolver& solver, const QuotaProblem& problem) {
  const int ranks = problem.topology.num_ranks();
  int64_t least = 0;
  for (uint32_t some = 1; some < uint32_t{1} << ranks; ++some) {
    int64_t tokens = 0;
    for (int expert = 0; expert < problem.counts.num_experts; ++expert) {
      uint32_t others = 0;
      solver.each_host(expert, [&](int32_t rank, int64_t) { others |= uint32_t{1} << rank; });
      others &= ~some;
      tokens += others == 0 ? problem.counts.totals()[expert] : 0;
    }
    const int64_t size = std::popcount(some);
    least = std::max(least, (tokens + size - 1) / size);
  }
  return least;
}

TEST(QuotaSolver, RelievesAsFarAsReplicasAllow) {
  std::mt19937 random(7);
  for (int i = 0; i < 100; ++i) {
    const QuotaProblem problem = random_quota_problem(random);
    if (problem.topology.num_ranks() > 8) {
      continue;
    }
    QuotaSolver solver(problem.topology, problem.counts.num_experts, problem.slots);
    const NodeCounts counts(problem.counts, problem.topology);
    const int64_t goal = counts.total() / problem.topology.num_ranks() + 1;
    solver.start(problem.owners, counts, Replicas(problem.owners.size()), goal);
    for (int step = 0; step < 10; ++step) {
      change(solver, problem, random);
      const QuotaSolver::Mark mark = solver.mark();
      change(solver, problem, random);
      if (random() % 3 == 0) {
        solver.take_back(mark);
      }
      solver.relieve();
      EXPECT_LE(solver.load(solver.slowest()),
                std::max(goal, least_of_slowest(solver, problem) + 1));
    }
  }
}

TEST(QuotaSolver, CountsWhatItSaysAfterAnyChange) {
  std::mt19937 random(6);
  for (int i = 0; i < 300; ++i) {
    const QuotaProblem problem = random_quota_problem(random);
    QuotaSolver solver(problem.topology, problem.counts.num_experts, problem.slots);
    const NodeCounts counts(problem.counts, problem.topology);
    const int64_t goal = counts.total() / problem.topology.num_ranks() + 1;
    solver.start(problem.owners, counts, Replicas(problem.owners.size()), goal);
    expect_consistent(solver, problem);
    for (int step = 0; step < 20; ++step) {
      const Facts before = facts_of(solver, problem);
      const QuotaSolver::Mark mark = solver.mark();
      if (change(solver, problem, random) && random() % 2 == 0) {
        solver.relieve();
      }
      expect_consistent(solver, problem);
      if (random() % 3 == 0) {
        solver.take_back(mark);
        EXPECT_EQ(facts_of(solver, problem), before);
      }
    }
    Replicas replicas;
    solver.copy_replicas(replicas);
    solver.start(problem.owners, counts, replicas, goal);
    expect_consistent(solver, problem);
  }
}

}  // namespace
}  // namespace enodia
