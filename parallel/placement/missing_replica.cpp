#include "parallel/placement/missing_replica.h"

#include <algorithm>

namespace enodia {
namespace {

// What a replica's room is worth, in percent: in a node that lacks the expert it serves that node,
// too.
constexpr int64_t kAtHome = 100, kInNode = 90, kInNewNode = 105;

/// The expert that a rank computes most tokens of, and how many.
std::pair<int32_t, int64_t> hottest_of(int32_t rank, const QuotaSolver& solver) {
  std::pair<int32_t, int64_t> hottest{-1, 0};
  solver.each_expert(rank, [&](int32_t expert, int64_t tokens) {
    if (tokens > hottest.second) {
      hottest = {expert, tokens};
    }
  });
  return hottest;
}

}  // namespace

Replica missing_for(int32_t full, const QuotaSolver& relieved, const Topology& topology) {
  const int64_t takes = std::min(relieved.load(full) - relieved.goal(),
                                 hottest_of(full, relieved).second);  // at the most
  const int home = topology.node_of(full);
  Replica best;
  int64_t most = relieved.counts().total() / topology.num_ranks();  // of the mean, in percent
  for (int32_t rank = 0; rank < topology.num_ranks() && kInNewNode * takes > most; ++rank) {
    const int64_t room = std::min(takes, relieved.goal() - relieved.load(rank));
    if (kInNewNode * room <= most || !relieved.has_free_slot(rank)) {
      continue;
    }
    const int node = topology.node_of(rank);
    relieved.each_expert(full, [&](int expert, int64_t tokens) {
      const int64_t percent = node == home                        ? kAtHome
                              : relieved.is_in_node(expert, node) ? kInNode
                                                                  : kInNewNode;
      const int64_t gain = percent * std::min(tokens, room);
      if (gain > most && !relieved.is_on(expert, rank)) {
        most = gain;
        best = {expert, rank};
      }
    });
  }
  return best;
}

std::pair<Replica, Replica> exchange_for(int32_t full,
                                         const QuotaSolver& relieved,
                                         const Topology& topology) {
  const auto [hottest, tokens] = hottest_of(full, relieved);
  const int64_t takes = std::min(relieved.load(full) - relieved.goal(), tokens);  // at the most
  std::pair<Replica, Replica> best;
  int64_t most = 0;
  for (int32_t rank = 0; rank < topology.num_ranks() && takes > most; ++rank) {
    if (relieved.is_on(hottest, rank)) {
      continue;
    }
    relieved.each_replica(rank, [&](Replica other, int64_t quota) {
      // What the other computes may have to stay: it counts against the room that it leaves.
      const int64_t room = relieved.goal() - relieved.load(rank) + quota;
      const int64_t gain = std::min(takes, room) - quota;
      if (gain > most) {
        most = gain;
        best = {other, {hottest, rank}};
      }
    });
  }
  return best;
}

Replica missing_in_node(const QuotaSolver& relieved, const Topology& topology, int64_t least) {
  Replica best;
  for (int node = 0; node < topology.num_nodes(); ++node) {
    const std::span<const int32_t> tokens = relieved.counts().of_node(node);
    const int32_t rank = emptiest_free_rank(relieved, topology, node);
    for (int expert = 0; rank >= 0 && expert < std::ssize(tokens); ++expert) {
      if (tokens[expert] > least && !relieved.is_in_node(expert, node)) {
        least = tokens[expert];
        best = {expert, rank};
      }
    }
  }
  return best;
}

int32_t emptiest_free_rank(const QuotaSolver& solver, const Topology& topology, int node) {
  int32_t best = -1;
  for (int32_t rank = topology.first_rank(node); rank < topology.first_rank(node + 1); ++rank) {
    if (solver.has_free_slot(rank) && (best < 0 || solver.load(rank) < solver.load(best))) {
      best = rank;
    }
  }
  return best;
}

}  // namespace enodia
