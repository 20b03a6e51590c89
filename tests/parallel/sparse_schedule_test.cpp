#include "collectives/sparse/sparse_schedule.h"

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

#include "common/error.h"

namespace enodia {
namespace {

/// Chunks on ranks of nodes.
struct ScheduleProblem {
  ChunkPlaces places;
  std::vector<int> nodes;
};

/// Worlds of 1 to 16 ranks on nodes of any size, whose ranks need not follow each other; owners
/// need not hold, and a chunk may have no holders.
ScheduleProblem random_schedule_problem(std::mt19937& random) {
  ScheduleProblem problem;
  const int world = 1 + static_cast<int>(random() % 16);
  const int num_nodes = 1 + static_cast<int>(random() % 6);
  for (int rank = 0; rank < world; ++rank) {
    problem.nodes.push_back(static_cast<int>(random() % num_nodes));
  }
  const int chunks = static_cast<int>(random() % 6);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    problem.places.owners.push_back(static_cast<int32_t>(random() % world));
    problem.places.elements.push_back(static_cast<int64_t>(random() % 40));
    auto& holders = problem.places.holders.emplace_back();
    const unsigned sparsity = 1 + random() % 4;
    for (int32_t rank = 0; rank < world; ++rank) {
      if (random() % sparsity == 0) {
        holders.push_back(rank);
      }
    }
    std::shuffle(holders.begin(), holders.end(), random);
  }
  return problem;
}

using Build = std::function<SparseSchedule(const ScheduleProblem&)>;

SparseSchedule multicast(const ScheduleProblem& problem) {
  return node_multicast_schedule(problem.places, problem.nodes, 7);
}
SparseSchedule relay(const ScheduleProblem& problem) {
  return relay_schedule(problem.places, problem.nodes, 7, 2);
}

void for_random_problems(
    const std::function<void(const ScheduleProblem&, const SparseSchedule&)>& check) {
  std::mt19937 random(1);
  const std::vector<std::pair<const char*, Build>> builds{
      {"direct", [](const ScheduleProblem& problem) { return direct_schedule(problem.places); }},
      {"multicast", multicast},
      {"relay", relay},
      {"chosen", [](const ScheduleProblem& problem) {
         return choose_schedule(problem.places, problem.nodes, 4096);
       }}};
  for (int i = 0; i < 500; ++i) {
    const ScheduleProblem problem = random_schedule_problem(random);
    for (const auto& [name, build] : builds) {
      SCOPED_TRACE(testing::Message() << name << ", problem " << i);
      check(problem, build(problem));
      if (testing::Test::HasFailure()) {
        return;
      }
    }
  }
}

using Element = std::tuple<int32_t, int32_t, int64_t>;  // rank, chunk, element

bool wants(const ScheduleProblem& problem, int32_t chunk, int32_t rank) {
  const auto& holders = problem.places.holders[chunk];
  return rank != problem.places.owners[chunk] &&
         std::find(holders.begin(), holders.end(), rank) != holders.end();
}

TEST(SparseSchedule, HoldersReceiveEveryElementOnce) {
  for_random_problems([](const ScheduleProblem& problem, const SparseSchedule& schedule) {
    std::map<Element, int> received;
    for (const TransferRound& round : schedule.rounds) {
      for (const auto& [chunk, from, to, first, count] : round.transfers) {
        EXPECT_GT(count, 0);
        EXPECT_NE(from, to);
        for (int64_t i = first; i < first + count; ++i) {
          ++received[{to, chunk, i}];
        }
      }
    }
    std::map<Element, int> wanted;
    for (int32_t chunk = 0; chunk < std::ssize(problem.places.owners); ++chunk) {
      for (int32_t rank = 0; rank < std::ssize(problem.nodes); ++rank) {
        for (int64_t i = 0; i < problem.places.elements[chunk] && wants(problem, chunk, rank);
             ++i) {
          wanted[{rank, chunk, i}] = 1;
        }
      }
    }
    EXPECT_EQ(received, wanted);
  });
}

/// The rounds that have certainly arrived when a round starts.
std::vector<int> arrived_before(const SparseSchedule& schedule, int round) {
  std::vector<int> before;
  for (int at = schedule.rounds[round].after; at >= 0; at = schedule.rounds[at].after) {
    before.push_back(at);
  }
  return before;
}

TEST(SparseSchedule, RanksSendOnlyWhatHasArrived) {
  for_random_problems([](const ScheduleProblem&, const SparseSchedule& schedule) {
    for (int round = 0; round < std::ssize(schedule.rounds); ++round) {
      EXPECT_LT(schedule.rounds[round].after, round);
      std::set<Element> here;
      for (const int before : arrived_before(schedule, round)) {
        for (const auto& [chunk, from, to, first, count] : schedule.rounds[before].transfers) {
          for (int64_t i = first; i < first + count; ++i) {
            here.insert({to, chunk, i});
          }
        }
      }
      for (const auto& [chunk, from, to, first, count] : schedule.rounds[round].transfers) {
        for (int64_t i = first; i < first + count && from != schedule.owners[chunk]; ++i) {
          EXPECT_TRUE(here.contains({from, chunk, i}))
              << "rank " << from << " sends element " << i << " of chunk " << chunk;
        }
      }
    }
  });
}

/// Elements of a chunk that come to a node from others.
std::map<std::pair<int32_t, int>, int64_t> crossings(const ScheduleProblem& problem,
                                                     const SparseSchedule& schedule) {
  std::map<std::pair<int32_t, int>, int64_t> elements;
  for (const TransferRound& round : schedule.rounds) {
    for (const ChunkTransfer& transfer : round.transfers) {
      if (problem.nodes[transfer.from] != problem.nodes[transfer.to]) {
        elements[{transfer.chunk, problem.nodes[transfer.to]}] += transfer.count;
      }
    }
  }
  return elements;
}

TEST(SparseSchedule, ChunksCrossToANodeOnce) {
  std::mt19937 random(2);
  for (int i = 0; i < 500; ++i) {
    const ScheduleProblem problem = random_schedule_problem(random);
    for (const SparseSchedule& schedule : {multicast(problem), relay(problem)}) {
      for (const auto& [where, elements] : crossings(problem, schedule)) {
        EXPECT_EQ(elements, problem.places.elements[where.first])
            << "chunk " << where.first << " to node " << where.second << ", problem " << i;
      }
    }
  }
}

TEST(SparseSchedule, ARelaySendsOnToFewNodes) {
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    const ScheduleProblem problem = random_schedule_problem(random);
    std::map<std::pair<int32_t, int>, std::set<int>> receivers;  // by chunk and sending node
    for (const TransferRound& round : relay(problem).rounds) {
      for (const ChunkTransfer& transfer : round.transfers) {
        const int from = problem.nodes[transfer.from];
        const int to = problem.nodes[transfer.to];
        if (from != to) {
          receivers[{transfer.chunk, from}].insert(to);
        }
      }
    }
    for (const auto& [sender, nodes] : receivers) {
      EXPECT_LE(nodes.size(), 2u) << "chunk " << sender.first << " from node " << sender.second;
    }
  }
}

/// Walks the transpose with numbers: what rank r contributes is a bit of its own.
TEST(SparseSchedule, TheTransposeAddsEveryContributionOnce) {
  for_random_problems([](const ScheduleProblem& problem, const SparseSchedule& schedule) {
    std::map<Element, int64_t> sums;
    const auto value = [&](int32_t rank, int32_t chunk, int64_t i) -> int64_t& {
      return sums.try_emplace({rank, chunk, i}, int64_t{1} << (2 * rank)).first->second;
    };
    const SparseSchedule homewards = transposed(schedule);
    for (int round = 0; round < std::ssize(homewards.rounds); ++round) {
      EXPECT_LT(homewards.rounds[round].after, round);
      std::vector<std::pair<Element, int64_t>> arriving;
      for (const auto& [chunk, from, to, first, count] : homewards.rounds[round].transfers) {
        for (int64_t i = first; i < first + count; ++i) {
          arriving.push_back({{to, chunk, i}, value(from, chunk, i)});
        }
      }
      for (const auto& [where, what] : arriving) {
        value(std::get<0>(where), std::get<1>(where), std::get<2>(where)) += what;
      }
    }
    for (int32_t chunk = 0; chunk < std::ssize(problem.places.owners); ++chunk) {
      const int32_t owner = problem.places.owners[chunk];
      int64_t expected = int64_t{1} << (2 * owner);
      for (int32_t rank = 0; rank < std::ssize(problem.nodes); ++rank) {
        expected += wants(problem, chunk, rank) ? int64_t{1} << (2 * rank) : 0;
      }
      for (int64_t i = 0; i < problem.places.elements[chunk]; ++i) {
        EXPECT_EQ(value(owner, chunk, i), expected) << "chunk " << chunk << ", element " << i;
      }
    }
    EXPECT_EQ(transposed(homewards), schedule);
  });
}

TEST(SparseSchedule, TwoNodesByHand) {
  const ChunkPlaces places{{0}, {{3, 1, 2}}, {4}};
  const SparseSchedule schedule = node_multicast_schedule(places, std::vector{0, 0, 1, 1}, 4);
  EXPECT_EQ(schedule,
            (SparseSchedule{{0},
                            {{{{0, 0, 1, 0, 4}, {0, 0, 2, 0, 2}, {0, 0, 3, 2, 2}}, -1},
                             {{{0, 3, 2, 2, 2}, {0, 2, 3, 0, 2}}, 0}}}));
}

TEST(SparseSchedule, PiecesCrossWhileOthersAreShared) {
  const ChunkPlaces places{{0}, {{1, 2}}, {4}};
  const SparseSchedule schedule = node_multicast_schedule(places, std::vector{0, 1, 1}, 2);
  std::vector<int> after;
  for (const TransferRound& round : schedule.rounds) {
    after.push_back(round.after);
  }
  EXPECT_EQ(after, (std::vector{-1, -1, 0, 1}));
}

TEST(SparseSchedule, TheChoiceFollowsItsRule) {
  const std::vector<int> nodes{0, 0, 1, 1, 2, 3, 4};
  const ScheduleRule rule;
  const int64_t large = rule.small_chunk_bytes;
  const auto chosen = [&](std::vector<int32_t> holders, int64_t elements) {
    return choose_schedule({{0}, {std::move(holders)}, {elements}}, nodes, 1);
  };
  const auto rounds = [&](std::vector<int32_t> holders, int64_t elements) {
    return chosen(std::move(holders), elements).rounds.size();
  };
  EXPECT_EQ(rounds({1, 2, 4}, large), 1u) << "nothing crosses twice";
  EXPECT_EQ(rounds({2, 3}, large - 1), 1u) << "small";
  EXPECT_EQ(rounds({2, 3}, large), 2u);
  for (const auto& [elements, fan_out] : {std::pair{large, 2}, {4 * rule.piece_bytes, 1}}) {
    EXPECT_EQ(chosen({2, 4, 5, 6}, elements),
              relay_schedule({{0}, {{2, 4, 5, 6}}, {elements}}, nodes, rule.piece_bytes, fan_out));
  }
}

TEST(SparseSchedule, NonsenseIsRefused) {
  const ChunkPlaces unequal{{0, 1}, {{0}}, {4, 4}};
  EXPECT_THROW(direct_schedule(unequal), UsageError);
  EXPECT_THROW(node_multicast_schedule(unequal, std::vector{0, 1}, 4), UsageError);
  EXPECT_THROW(direct_schedule({{0, 1}, {{0}, {1}}, {4}}), UsageError);
  const ChunkPlaces places{{0}, {{1}}, {4}};
  EXPECT_THROW(node_multicast_schedule(places, std::vector{0, 1}, 0), UsageError);
  EXPECT_THROW(relay_schedule(places, std::vector{0, 1}, 4, 0), UsageError);
}

}  // namespace
}  // namespace enodia
