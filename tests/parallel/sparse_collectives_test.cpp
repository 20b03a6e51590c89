#include "collectives/sparse/sparse_collectives.h"

#include <algorithm>
#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"
#include "collectives/progress/communication_thread.h"
#include "collectives/sparse/packed_exchange.h"
#include "common/error.h"

namespace enodia {
namespace {

constexpr int kElements = 13;

using Chunk = std::vector<float>;

/// Who owns and who holds each chunk.
struct SparseProblem {
  int world;
  std::vector<int32_t> owners;
  std::vector<std::vector<int32_t>> holders;
  ChunkPlaces places() const {
    return {owners, holders, std::vector<int64_t>(owners.size(), kElements)};
  }
};

/// Ranks 0 to 2 on node 0, then two on each.
std::vector<int> nodes_of(int world) {
  std::vector<int> nodes;
  for (int rank = 0; rank < world; ++rank) {
    nodes.push_back(rank < 3 ? 0 : 1 + (rank - 3) / 2);
  }
  return nodes;
}

enum class Way { kDirect, kMulticast, kRelay };

SparseSchedule schedule_of(const SparseProblem& problem, Way way) {
  const std::vector<int> nodes = nodes_of(problem.world);
  switch (way) {
    case Way::kDirect:
      return direct_schedule(problem.places());
    case Way::kMulticast:
      return node_multicast_schedule(problem.places(), nodes, 6);
    case Way::kRelay:
      return relay_schedule(problem.places(), nodes, 6, 1);
  }
  return {};
}

/// Owners need not be holders, holders are in no order, and a chunk may have none.
SparseProblem random_problem(int world, int chunks, std::mt19937& random) {
  SparseProblem problem{world, {}, {}};
  for (int chunk = 0; chunk < chunks; ++chunk) {
    problem.owners.push_back(static_cast<int32_t>(random() % world));
    auto& holders = problem.holders.emplace_back();
    for (int32_t rank = 0; rank < world; ++rank) {
      if (random() % 2 == 0) {
        holders.push_back(rank);
      }
    }
    std::shuffle(holders.begin(), holders.end(), random);
  }
  return problem;
}

bool holds(const SparseProblem& problem, int chunk, int rank) {
  const auto& holders = problem.holders[chunk];
  return std::find(holders.begin(), holders.end(), rank) != holders.end();
}

/// Values whose float32 sum depends on the order.
Chunk chunk_of(int chunk, int rank) {
  Chunk values;
  for (int i = 0; i < kElements; ++i) {
    values.push_back((i % 2 == 0 ? 1.0F : 1e6F) / static_cast<float>(3 + chunk + 7 * rank + i));
  }
  return values;
}

/// The memory of a chunk that must be there.
ChunkBuffer buffers_in(std::map<int32_t, Chunk>& chunks) {
  return [&chunks](int32_t chunk) { return view(std::span<float>(chunks.at(chunk))); };
}

void gather_and_check(const SparseProblem& problem, Way way = Way::kDirect, bool threaded = false) {
  run_loopback(problem.world, [&](Communicator& world) {
    CommunicationThread thread;
    const auto made = threaded ? thread.take_over(world.split(0, world.rank()), Traffic::kReplicas)
                               : world.split(0, world.rank());
    Communicator& communicator = *made;
    const int rank = communicator.rank();
    std::map<int32_t, Chunk> owned;
    std::map<int32_t, Chunk> held;
    for (int chunk = 0; chunk < static_cast<int>(problem.owners.size()); ++chunk) {
      if (problem.owners[chunk] == rank) {
        owned[chunk] = chunk_of(chunk, rank);
      } else if (holds(problem, chunk, rank)) {
        held[chunk] = Chunk(kElements, -1.0F);
      }
    }
    const auto owned_before = owned;
    const SparseSchedule schedule = schedule_of(problem, way);
    sparse_all_gather(communicator, schedule, buffers_in(owned), buffers_in(held)).wait();
    EXPECT_EQ(owned, owned_before);
    for (const auto& [chunk, values] : held) {
      EXPECT_EQ(values, chunk_of(chunk, problem.owners[chunk])) << "chunk " << chunk;
    }
  });
}

/// The owner's own chunk, then the other holders' in rank order, one addition after the other.
Chunk sum_at_owner(const SparseProblem& problem, int chunk) {
  const int32_t owner = problem.owners[chunk];
  Chunk sum = chunk_of(chunk, owner);
  for (int rank = 0; rank < problem.world; ++rank) {
    if (rank != owner && holds(problem, chunk, rank)) {
      const Chunk other = chunk_of(chunk, rank);
      for (int i = 0; i < kElements; ++i) {
        sum[i] += other[i];
      }
    }
  }
  return sum;
}

void reduce_and_check(const SparseProblem& problem) {
  run_loopback(problem.world, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    std::map<int32_t, Chunk> owned;
    std::map<int32_t, Chunk> held;
    for (int chunk = 0; chunk < static_cast<int>(problem.owners.size()); ++chunk) {
      if (problem.owners[chunk] == rank) {
        owned[chunk] = chunk_of(chunk, rank);
      } else if (holds(problem, chunk, rank)) {
        held[chunk] = chunk_of(chunk, rank);
      }
    }
    const SparseSchedule schedule = schedule_of(problem, Way::kDirect);
    sparse_reduce_scatter(communicator, schedule, buffers_in(held), buffers_in(owned)).wait();
    for (const auto& [chunk, values] : owned) {
      EXPECT_EQ(values, sum_at_owner(problem, chunk)) << "chunk " << chunk << ", bit for bit";
    }
    for (const auto& [chunk, values] : held) {
      EXPECT_EQ(values, chunk_of(chunk, rank)) << "what is sent stays";
    }
  });
}

TEST(SparseCollectives, GatherGivesHoldersTheOwnersChunk) {
  std::mt19937 random(1);
  for (const int world : {1, 2, 3, 4, 7}) {
    for (const int chunks : {0, 1, 9}) {
      gather_and_check(random_problem(world, chunks, random));
    }
  }
}

TEST(SparseCollectives, ReduceSumsAtTheOwnerInRankOrder) {
  std::mt19937 random(2);
  for (const int world : {1, 2, 3, 4, 7}) {
    for (const int chunks : {0, 1, 9}) {
      reduce_and_check(random_problem(world, chunks, random));
    }
  }
}

TEST(SparseCollectives, OwnersNeedNotHold) {
  const SparseProblem problem{3, {0, 2}, {{1, 2}, {1}}};
  gather_and_check(problem);
  reduce_and_check(problem);
}

TEST(SparseCollectives, EveryScheduleGathersTheSameBits) {
  std::mt19937 random(3);
  for (const int world : {2, 4, 5, 9}) {
    const SparseProblem problem = random_problem(world, 7, random);
    for (const Way way : {Way::kMulticast, Way::kRelay}) {
      gather_and_check(problem, way);
      gather_and_check(problem, way, true);
    }
  }
}

/// What owners have after a reduce-scatter, by chunk.
template <typename T>
std::vector<std::vector<T>> reduced(const SparseProblem& problem, Way way, bool threaded) {
  std::vector<std::vector<T>> sums(problem.owners.size());
  run_loopback(problem.world, [&](Communicator& world) {
    CommunicationThread thread;
    const auto communicator =
        threaded ? thread.take_over(world.split(0, world.rank()), Traffic::kReplicas)
                 : world.split(0, world.rank());
    const int rank = world.rank();
    std::map<int32_t, std::vector<T>> mine;
    for (int chunk = 0; chunk < static_cast<int>(problem.owners.size()); ++chunk) {
      if (problem.owners[chunk] == rank || holds(problem, chunk, rank)) {
        const Chunk values = chunk_of(chunk, rank);
        mine[chunk].assign(values.begin(), values.end());
      }
    }
    const auto memory = [&](int32_t chunk) { return view(std::span<T>(mine.at(chunk))); };
    sparse_reduce_scatter(*communicator, schedule_of(problem, way), memory, memory).wait();
    for (int chunk = 0; chunk < static_cast<int>(problem.owners.size()); ++chunk) {
      if (problem.owners[chunk] == rank) {
        sums[chunk] = mine[chunk];
      }
    }
  });
  return sums;
}

template <typename T>
void expect_equal_sums(T rounding) {
  std::mt19937 random(4);
  for (const int world : {2, 4, 5, 9}) {
    const SparseProblem problem = random_problem(world, 7, random);
    const auto expected = reduced<T>(problem, Way::kDirect, false);
    for (const Way way : {Way::kMulticast, Way::kRelay}) {
      const auto sums = reduced<T>(problem, way, false);
      EXPECT_EQ(sums, reduced<T>(problem, way, true)) << "the same bits by a thread";
      for (size_t chunk = 0; chunk < sums.size(); ++chunk) {
        for (size_t i = 0; i < sums[chunk].size(); ++i) {
          EXPECT_NEAR(sums[chunk][i] / expected[chunk][i], 1, static_cast<T>(world) * rounding);
        }
      }
    }
  }
}

TEST(SparseCollectives, EverySchedulesSumsAreRightButForRounding) {
  expect_equal_sums<float>(6e-8F);
  expect_equal_sums<double>(1.2e-16);
}

TEST(SparseCollectives, ReduceRefusesIntegers) {
  const SparseProblem problem{2, {0}, {{1}}};
  EXPECT_THROW(run_loopback(2,
                            [&](Communicator& communicator) {
                              std::vector<int32_t> values(kElements, 1);
                              const auto memory = [&](int32_t) {
                                return view(std::span<int32_t>(values));
                              };
                              sparse_reduce_scatter(
                                  communicator, direct_schedule(problem.places()), memory, memory)
                                  .wait();
                            }),
               UsageError);
}

/// Rank 0 sends rank 1 pieces of these sizes, and gets as many back.
void exchange_pieces(const std::vector<int64_t>& sizes) {
  run_loopback(2, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    std::vector<std::vector<float>> mine, theirs;
    std::vector<Message> sends, receives;
    for (size_t i = 0; i < sizes.size(); ++i) {
      mine.emplace_back(sizes[i], static_cast<float>(10 * i + rank));
      theirs.emplace_back(sizes[i], -1.0F);
    }
    for (size_t i = 0; i < sizes.size(); ++i) {
      sends.push_back({1 - rank, view(std::span<float>(mine[i]))});
      receives.push_back({1 - rank, view(std::span<float>(theirs[i]))});
    }
    exchange_packed(communicator, sends, receives, Queue()).wait();
    for (size_t i = 0; i < sizes.size(); ++i) {
      EXPECT_EQ(theirs[i], std::vector<float>(sizes[i], static_cast<float>(10 * i + 1 - rank)));
    }
  });
}

TEST(PackedExchange, BringsEveryPieceWhereItBelongs) {
  exchange_pieces({5});
  exchange_pieces({5, 1, 8000});    // packed
  exchange_pieces({5, 100000, 7});  // one is large
  exchange_pieces({100000, 100000});
}

}  // namespace
}  // namespace enodia
