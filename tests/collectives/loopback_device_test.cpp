// Ranks of the loopback that share a device: buffers are copied on its queues, in order by events.

#include <atomic>
#include <deque>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/backend.h"
#include "collectives/loopback/loopback.h"
#include "collectives/nccl/cuda_device.h"
#include "common/error.h"
#include "tests/collectives/communicator_contract.h"
#include "tests/collectives/device_array.h"
#include "tests/collectives/nccl_double/nccl_double.h"
#include "tests/collectives/staged_communicator.h"

namespace enodia {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

constexpr FakeOptions kOptions{.seed = 11, .max_delay_us = 50, .one_host = true};

class LoopbackDeviceContract : public ::testing::TestWithParam<std::tuple<int, ContractClause>> {};

TEST_P(LoopbackDeviceContract, Holds) {
  const auto& [world_size, clause] = GetParam();
  NcclDouble fakes(kOptions);
  CudaDevice device(NcclDouble::cuda(), 0);
  run_loopback(world_size, [&, &clause = clause](Communicator& communicator) {
    CudaStream stream(device);
    clause.body(*make_staged(communicator.split(0, 0), stream.queue(), 0));
  });
  EXPECT_THAT(fakes.errors(), IsEmpty());
  EXPECT_EQ(fakes.leftovers(), "");
}

INSTANTIATE_TEST_SUITE_P(Worlds,
                         LoopbackDeviceContract,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4, 8),
                                            ::testing::ValuesIn(contract_clauses().begin(),
                                                                contract_clauses().end())),
                         [](const auto& test) {
                           return std::string(std::get<1>(test.param).name) + "OnWorld" +
                                  std::to_string(std::get<0>(test.param));
                         });

/// What a rank has on its queues and arrays of the shared device.
struct DeviceRank {
  DeviceRank(NcclDouble& double_, CudaDevice& device, DeviceArrays<int64_t>& arrays_, int rank_)
      : fakes(double_),
        arrays(arrays_),
        rank(rank_),
        compute_stream(device),
        side_stream(device),
        compute(compute_stream.queue()),
        side(side_stream.queue()) {}

  int expect(const std::vector<int64_t>& got, const std::vector<int64_t>& content) {
    fakes.check_host_reads(got.data(), got.size() * sizeof(int64_t));
    return got != content;
  }

  NcclDouble& fakes;
  DeviceArrays<int64_t>& arrays;
  int rank;
  CudaStream compute_stream;
  CudaStream side_stream;
  Queue compute;
  Queue side;
};

/// Sends around the ring after one queue, for use on another, and to oneself; returns the number of
/// wrong results. Nothing blocks the host but the end.
int pass_around(Communicator& communicator, DeviceRank& at) {
  const int ranks = communicator.world_size();
  const int next = (at.rank + 1) % ranks;
  const int previous = (at.rank + ranks - 1) % ranks;
  std::vector<const std::vector<int64_t>*> got;
  for (int round = 0; round < 3; ++round) {
    const auto out = at.arrays.upload(at.compute, content_of<int64_t>(at.rank, round));
    const auto in = at.arrays.make(at.compute, out.count);
    const auto own = at.arrays.make(at.compute, out.count);
    communicator
        .exchange(std::vector<Message>{{next, out.buffer()}, {at.rank, out.buffer()}},
                  std::vector<Message>{{previous, in.buffer()}, {at.rank, own.buffer()}},
                  at.compute)
        .wait(at.side);
    at.arrays.fill(at.side, out, content_of<int64_t>(at.rank, 99));  // it has been read
    got.push_back(&at.arrays.download(at.side, in));
    got.push_back(&at.arrays.download(at.side, own));
  }
  synchronize(at.side);
  int wrong = 0;
  for (int round = 0; round < 3; ++round) {
    wrong += at.expect(*got[2 * round], content_of<int64_t>(previous, round));
    wrong += at.expect(*got[2 * round + 1], content_of<int64_t>(at.rank, round));
  }
  return wrong;
}

struct RingOutcome {
  std::vector<std::string> errors;
  int wrong = 0;
  int waits = 0;
  std::string leftovers;
};

RingOutcome run_ring(int ranks, int ignored) {
  std::deque<DeviceArrays<int64_t>> arrays;
  for (int rank = 0; rank < ranks; ++rank) {
    arrays.emplace_back(0);
  }
  NcclDouble fakes(kOptions);
  fakes.ignore_wait(0, ignored);
  CudaDevice device(NcclDouble::cuda(), 0);
  std::atomic<int> wrong = 0;
  run_loopback(ranks, [&](Communicator& communicator) {
    DeviceArrays<int64_t>& mine = arrays[communicator.rank()];
    DeviceRank at(fakes, device, mine, communicator.rank());
    wrong += pass_around(communicator, at);
    communicator.barrier();  // the peers may still read what is given back now
    mine.clear();
    synchronize(at.compute);
  });
  return {fakes.errors(), wrong, fakes.waits(0), fakes.leftovers()};
}

TEST(LoopbackDevice, EventsPutExchangesInOrder) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    const RingOutcome outcome = run_ring(ranks, 0);
    EXPECT_THAT(outcome.errors, IsEmpty()) << ranks;
    EXPECT_EQ(outcome.wrong, 0) << ranks;
    EXPECT_EQ(outcome.leftovers, "") << ranks;
  }
}

TEST(LoopbackDevice, CopiesAreCountedByTheirKind) {
  NcclDouble fakes(kOptions);
  CudaDevice device(NcclDouble::cuda(), 0);
  std::deque<DeviceArrays<int64_t>> arrays;
  arrays.emplace_back(0);
  arrays.emplace_back(0);
  run_loopback(2, [&](Communicator& communicator) {
    DeviceArrays<int64_t>& mine = arrays[communicator.rank()];
    DeviceRank at(fakes, device, mine, communicator.rank());
    EXPECT_EQ(pass_around(communicator, at), 0);
    communicator.barrier();
    mine.clear();
  });
  EXPECT_EQ(device.copies().host_to_device, 2 * 6);
  EXPECT_EQ(device.copies().device_to_host, 2 * 6);
  EXPECT_EQ(device.copies().device_to_device, 2 * 6);
  EXPECT_THAT(fakes.errors(), IsEmpty());
}

TEST(LoopbackDevice, AMessageMayGoFromADeviceToTheHostAndBack) {
  NcclDouble fakes(kOptions);
  CudaDevice device(NcclDouble::cuda(), 0);
  run_loopback(2, [&](Communicator& communicator) {
    CudaStream stream(device);
    DeviceArrays<int64_t> arrays(0);
    std::vector<int64_t> host = content_of<int64_t>(7, 0);
    if (communicator.rank() == 0) {
      const auto out = arrays.upload(stream.queue(), content_of<int64_t>(0, 1));
      const std::vector<Message> message{{1, out.buffer()}};
      communicator.exchange(message, {}, stream.queue()).wait();
      communicator.exchange({}, message, stream.queue()).wait(stream.queue());
      const auto& got = arrays.download(stream.queue(), out);
      synchronize(stream.queue());
      EXPECT_EQ(got, content_of<int64_t>(7, 0));
    } else {
      std::vector<int64_t> in(host.size());
      communicator.exchange({}, std::vector<Message>{{0, view(std::span(in))}}).wait();
      EXPECT_EQ(in, content_of<int64_t>(0, 1));
      communicator.exchange(std::vector<Message>{{0, view(std::span(host))}}, {}).wait();
    }
    communicator.barrier();
  });
  EXPECT_THAT(fakes.errors(), IsEmpty());
}

TEST(LoopbackDevice, HostMemoryBesideDeviceMemoryWaitsForTheQueue) {
  NcclDouble fakes(kOptions);
  CudaDevice device(NcclDouble::cuda(), 0);
  run_loopback(2, [&](Communicator& communicator) {
    const int peer = 1 - communicator.rank();
    CudaStream stream(device);
    DeviceArrays<int64_t> arrays(0);
    const auto out = arrays.upload(stream.queue(), content_of<int64_t>(communicator.rank(), 1));
    const auto in = arrays.make(stream.queue(), out.count);
    std::vector<int64_t> host = arrays.download(stream.queue(), out);
    stream.queue().copy(host.data(), out.memory.get(), out.bytes());  // not there yet
    std::vector<int64_t> host_in(host.size());
    communicator
        .exchange(std::vector<Message>{{peer, view(std::span(host))}, {peer, out.buffer()}},
                  std::vector<Message>{{peer, view(std::span(host_in))}, {peer, in.buffer()}},
                  stream.queue())
        .wait();
    EXPECT_EQ(host_in, content_of<int64_t>(peer, 1));
    const auto& got = arrays.download(stream.queue(), in);
    synchronize(stream.queue());
    EXPECT_EQ(got, content_of<int64_t>(peer, 1));
    communicator.barrier();
  });
  EXPECT_THAT(fakes.errors(), IsEmpty());
}

TEST(LoopbackDevice, TheHostsQueueIsRefusedForDeviceMemory) {
  run_loopback(1, [](Communicator& communicator) {
    float value = 0;
    const Buffer buffer{&value, 1, DType::kFloat32, 0};
    const std::vector<Message> message{{0, buffer}};
    EXPECT_THAT([&] { communicator.exchange(message, message).wait(); },
                ThrowsMessage<UsageError>(HasSubstr("give a queue of the device")));
    EXPECT_THAT([&] { communicator.all_reduce(buffer, ReduceOp::kSum).wait(); },
                ThrowsMessage<UsageError>(HasSubstr("give a queue of the device")));
  });
}

}  // namespace
}  // namespace enodia
