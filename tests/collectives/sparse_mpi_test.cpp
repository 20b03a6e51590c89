#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "collectives/progress/communication_thread.h"
#include "collectives/sparse/sparse_collectives.h"
#include "tests/mpi_main.h"

namespace enodia {
namespace {

constexpr int64_t kElements = 1237;

/// Every rank owns an expert that all want, on nodes of two ranks.
ChunkPlaces places(int world) {
  ChunkPlaces places;
  for (int32_t owner = 0; owner < world; ++owner) {
    places.owners.push_back(owner);
    places.elements.push_back(kElements);
    auto& holders = places.holders.emplace_back();
    for (int32_t rank = 0; rank < world; ++rank) {
      holders.push_back(rank);
    }
  }
  return places;
}

std::vector<SparseSchedule> schedules(int world) {
  std::vector<int> nodes;
  for (int rank = 0; rank < world; ++rank) {
    nodes.push_back(rank / 2);
  }
  return {direct_schedule(places(world)),
          node_multicast_schedule(places(world), nodes, 500),
          relay_schedule(places(world), nodes, 500, 1)};
}

std::byte byte_of(int owner, size_t at) {
  return static_cast<std::byte>(17 * owner + static_cast<int>(at % 251));
}

void expect_gathers(Communicator& communicator, DType dtype) {
  for (const SparseSchedule& schedule : schedules(communicator.world_size())) {
    std::vector<std::vector<std::byte>> chunks(communicator.world_size());
    for (int owner = 0; owner < communicator.world_size(); ++owner) {
      chunks[owner].resize(kElements * size_of(dtype));
      for (size_t i = 0; i < chunks[owner].size() && owner == communicator.rank(); ++i) {
        chunks[owner][i] = byte_of(owner, i);
      }
    }
    const auto memory = [&](int32_t chunk) {
      return Buffer{chunks[chunk].data(), kElements, dtype};
    };
    sparse_all_gather(communicator, schedule, memory, memory).wait();
    for (int owner = 0; owner < communicator.world_size(); ++owner) {
      size_t wrong = 0;
      for (size_t i = 0; i < chunks[owner].size(); ++i) {
        wrong += chunks[owner][i] != byte_of(owner, i) ? 1 : 0;
      }
      EXPECT_EQ(wrong, 0u) << name_of(dtype) << " of rank " << owner;
    }
  }
}

/// The sums of this rank's expert, by schedule.
std::vector<std::vector<float>> sums(Communicator& communicator) {
  std::vector<std::vector<float>> sums;
  for (const SparseSchedule& schedule : schedules(communicator.world_size())) {
    std::vector<std::vector<float>> chunks(communicator.world_size());
    for (auto& chunk : chunks) {
      for (int64_t i = 0; i < kElements; ++i) {
        chunk.push_back(1.0F / static_cast<float>(3 + i + 7 * communicator.rank()));
      }
    }
    const auto memory = [&](int32_t chunk) { return view(std::span<float>(chunks[chunk])); };
    sparse_reduce_scatter(communicator, schedule, memory, memory).wait();
    sums.push_back(chunks[communicator.rank()]);
  }
  return sums;
}

TEST(SparseCollectivesOnMpi, EveryScheduleGathersEveryType) {
  CommunicationThread thread({.chunk_bytes = 1000});
  const auto threaded = thread.take_over(test_world().make_communicator(), Traffic::kReplicas);
  for (const DType dtype : {DType::kUInt8,
                            DType::kInt32,
                            DType::kInt64,
                            DType::kFloat32,
                            DType::kFloat64,
                            DType::kBFloat16}) {
    expect_gathers(*threaded, dtype);
  }
}

TEST(SparseCollectivesOnMpi, EveryScheduleSumsTheSameTwice) {
  const auto found = sums(test_world().communicator());
  EXPECT_EQ(found, sums(test_world().communicator())) << "bit for bit";
  for (const auto& sum : found) {
    for (int64_t i = 0; i < kElements; ++i) {
      EXPECT_NEAR(sum[i] / found[0][i], 1, 1e-6) << "but for rounding";
    }
  }
}

}  // namespace
}  // namespace enodia
