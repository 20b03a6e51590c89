#include "collectives/sharing_rounds.h"

#include <map>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"

namespace enodia {
namespace {

using ::testing::Each;
using ::testing::Pair;

/// One to four nodes, with dense ids in order of first rank.
std::vector<int> random_nodes(int world_size, std::mt19937& random) {
  std::vector<int> nodes;
  int known = 0;
  for (int rank = 0; rank < world_size; ++rank) {
    const int node = static_cast<int>(random() % std::min(known + 1, 4));
    nodes.push_back(node);
    known = std::max(known, node + 1);
  }
  return nodes;
}

/// What each rank shares: two buffers, of which the first is empty on rank 0.
std::vector<std::vector<int64_t>> lengths_of(int world_size, int64_t length) {
  std::vector<std::vector<int64_t>> lengths;
  for (int rank = 0; rank < world_size; ++rank) {
    lengths.push_back({rank * length, length + rank});
  }
  return lengths;
}

int64_t content(int rank, size_t buffer, int64_t element) {
  return rank * 1'000'000 + static_cast<int64_t>(buffer) * 100'000 + element;
}

/// Shares buffers in a world; returns how often each rank's buffers crossed to each other node.
std::map<std::pair<int, int>, int> share(const std::vector<int>& nodes, int64_t length) {
  std::map<std::pair<int, int>, int> crossings;
  std::mutex mutex;
  const int world_size = static_cast<int>(nodes.size());
  const auto lengths = lengths_of(world_size, length);
  const auto body = [&](Communicator& communicator) {
    std::vector<std::vector<std::vector<int64_t>>> held(nodes.size());
    std::vector<std::vector<Buffer>> parts(nodes.size());
    for (int rank = 0; rank < world_size; ++rank) {
      for (size_t buffer = 0; buffer < 2; ++buffer) {
        held[rank].emplace_back(lengths[rank][buffer], -1);
      }
      for (std::vector<int64_t>& elements : held[rank]) {
        parts[rank].push_back(view(std::span(elements)));
      }
    }
    const int own = communicator.rank();
    for (size_t buffer = 0; buffer < 2; ++buffer) {
      for (int64_t i = 0; i < lengths[own][buffer]; ++i) {
        held[own][buffer][i] = content(own, buffer, i);
      }
    }
    std::vector<ExchangeRound> rounds = sharing_rounds(communicator, parts);
    {
      const std::lock_guard lock(mutex);
      for (const Message& sent : rounds[0].sends) {
        if (nodes[sent.peer] != nodes[own] && sent.buffer.data == parts[own][1].data) {
          ++crossings[{own, nodes[sent.peer]}];
        }
      }
      for (size_t round = 1; round < rounds.size(); ++round) {
        for (const Message& sent : rounds[round].sends) {
          EXPECT_EQ(nodes[sent.peer], nodes[own]);
        }
      }
    }
    communicator.exchange_in_rounds(std::move(rounds)).wait();
    for (int rank = 0; rank < world_size; ++rank) {
      for (size_t buffer = 0; buffer < 2; ++buffer) {
        for (int64_t i = 0; i < lengths[rank][buffer]; ++i) {
          ASSERT_EQ(held[rank][buffer][i], content(rank, buffer, i)) << own << " of " << rank;
        }
      }
    }
  };
  run_loopback(world_size, body, nodes);
  return crossings;
}

TEST(SharingRounds, BringEachRanksBuffersToAllAndToANodeOnce) {
  std::mt19937 random(1);
  for (int i = 0; i < 60; ++i) {
    const int world_size = 1 + static_cast<int>(random() % 9);
    const std::vector<int> nodes = random_nodes(world_size, random);
    EXPECT_THAT(share(nodes, 1000), Each(Pair(::testing::_, 1)));
  }
}

TEST(SharingRounds, SendDirectlyWhatIsSmall) {
  EXPECT_THAT(share({0, 0, 1, 1, 1}, 1),
              ::testing::IsSupersetOf({Pair(Pair(0, 1), 3), Pair(Pair(2, 0), 2)}));
}

TEST(SharingRounds, AreOneWhereNoNodeHoldsTwoRanks) {
  run_loopback(3,
               [](Communicator& communicator) {
                 std::vector<double> elements(9000);
                 std::vector<std::vector<Buffer>> parts;
                 for (int rank = 0; rank < 3; ++rank) {
                   parts.push_back({view(std::span(elements).subspan(rank * 3000, 3000))});
                 }
                 EXPECT_EQ(sharing_rounds(communicator, parts).size(), 1);
               },
               {0, 1, 2});
}

}  // namespace
}  // namespace enodia
