#include "parallel/placement/missing_replica.h"

#include <algorithm>

namespace enodia {
namespace {

// What a replica's room is worth, in percent: in a node that lacks the expert it serves that node,
// too.
constexpr int64_t kAtHome = 100, kInNode = 90, kInNewNode = 105;

}  // namespace

Replica missing_for_slowest(const QuotaSolver& relieved, const Topology& topology) {
  const int32_t slowest = relieved.slowest();
  const int64_t excess = relieved.load(slowest) - relieved.goal();
  const int home = topology.node_of(slowest);
  Replica best;
  int64_t most = relieved.counts().total() / topology.num_ranks();  // of the mean, in percent
  if (excess <= 0) {
    return best;
  }
  for (int32_t rank = 0; rank < topology.num_ranks(); ++rank) {
    const int64_t room = std::min(excess, relieved.goal() - relieved.load(rank));
    if (kInNewNode * room <= most || !relieved.has_free_slot(rank)) {
      continue;
    }
    const int node = topology.node_of(rank);
    relieved.each_expert(slowest, [&](int expert, int64_t tokens) {
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

std::pair<Replica, Replica> exchange_for_slowest(const QuotaSolver& relieved,
                                                 const Topology& topology) {
  const int32_t slowest = relieved.slowest();
  const int64_t excess = relieved.load(slowest) - relieved.goal();
  Replica hottest{-1, slowest};
  int64_t tokens = 0;
  relieved.each_expert(slowest, [&](int expert, int64_t quota) {
    if (quota > tokens) {
      tokens = quota;
      hottest.expert = expert;
    }
  });
  std::pair<Replica, Replica> best;
  int64_t most = 0;
  for (int32_t rank = 0; rank < topology.num_ranks() && hottest.expert >= 0; ++rank) {
    if (relieved.is_on(hottest.expert, rank)) {
      continue;
    }
    relieved.each_replica(rank, [&](Replica other, int64_t quota) {
      // What the other computes may have to stay: it counts against the room that it leaves.
      const int64_t room = relieved.goal() - relieved.load(rank) + quota;
      const int64_t gain = std::min({tokens, excess, room}) - quota;
      if (gain > most) {
        most = gain;
        best = {other, {hottest.expert, rank}};
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
