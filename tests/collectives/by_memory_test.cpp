#include "collectives/decorators/by_memory.h"

#include <functional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/backend.h"
#include "collectives/collectives.h"
#include "collectives/loopback/loopback.h"
#include "collectives/nccl/nccl_communicator.h"
#include "common/error.h"
#include "tests/collectives/device_array.h"
#include "tests/collectives/nccl_double/nccl_double.h"

namespace enodia {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

struct Rank {
  Communicator& both;
  NcclEnqueuer& enqueuer;
  Queue queue;
  DeviceArrays<int64_t>& arrays;
};

void run_both(int ranks, const std::function<void(Rank&)>& body) {
  NcclDouble fakes;
  run_loopback(ranks, [&](Communicator& world) {
    CudaDevice device(NcclDouble::cuda(), world.rank());
    CudaStream stream(device);
    DeviceArrays<int64_t> arrays(world.rank());
    NcclEnqueuer enqueuer;
    const NcclTable nccl = NcclDouble::nccl();
    {
      const auto both = make_by_memory(
          world.split(0, world.rank()),
          make_nccl_communicator(nccl, device, enqueuer, world.split(0, world.rank())));
      Rank rank{*both, enqueuer, stream.queue(), arrays};
      body(rank);
    }
    synchronize(stream.queue());
    arrays.clear();
  });
  EXPECT_THAT(fakes.errors(), IsEmpty());
}

TEST(ByMemory, EachMemoryHasItsCommunicator) {
  run_both(3, [](Rank& at) {
    const int rank = at.both.rank();
    const int next = (rank + 1) % 3;
    const int previous = (rank + 2) % 3;
    const std::vector<int64_t> mine = content_of<int64_t>(rank, 1);
    std::vector<int64_t> got(mine.size());
    at.both
        .exchange(std::vector<Message>{{next, view(std::span(mine))}},
                  std::vector<Message>{{previous, view(std::span(got))}})
        .wait();
    EXPECT_EQ(got, content_of<int64_t>(previous, 1));
    const int64_t launches = at.enqueuer.launches();

    const auto out = at.arrays.upload(at.queue, content_of<int64_t>(rank, 2));
    const auto in = at.arrays.make(at.queue, out.count);
    at.both
        .exchange(std::vector<Message>{{next, out.buffer()}},
                  std::vector<Message>{{previous, in.buffer()}},
                  at.queue)
        .wait(at.queue);
    at.both.all_reduce(out.buffer(), ReduceOp::kMax, at.queue).wait(at.queue);
    at.both.broadcast(in.buffer(), 1, at.queue).wait(at.queue);
    EXPECT_EQ(at.enqueuer.launches(), launches + 3);
    const auto& largest = at.arrays.download(at.queue, out);
    const auto& received = at.arrays.download(at.queue, in);
    synchronize(at.queue);
    EXPECT_EQ(largest, content_of<int64_t>(2, 2));
    EXPECT_EQ(received, content_of<int64_t>(0, 2)) << "what rank 1 got";

    EXPECT_EQ(all_reduce_value(at.both, int64_t{rank}, ReduceOp::kSum), 3);
    at.both.barrier();
    EXPECT_EQ(at.enqueuer.launches(), launches + 3);
  });
}

// Some ranks have nothing to send in an exchange that others make with their devices.
TEST(ByMemory, AnExchangeWithoutMessagesGoesByItsQueue) {
  run_both(2, [](Rank& at) {
    const int64_t launches = at.enqueuer.launches();
    at.both.exchange({}, {}, at.queue).wait(at.queue);
    EXPECT_EQ(at.enqueuer.launches(), launches + 1);
    at.both.exchange({}, {}).wait();
    EXPECT_EQ(at.enqueuer.launches(), launches + 1);
    const auto none = at.arrays.make(at.queue, 0);
    const std::vector<Message> message{{1 - at.both.rank(), none.buffer()}};
    at.both.exchange(message, message, at.queue).wait(at.queue);
    EXPECT_EQ(at.enqueuer.launches(), launches + 2);
  });
}

TEST(ByMemory, ABatchOfBothMemoriesIsRefused) {
  run_both(2, [](Rank& at) {
    const auto there = at.arrays.make(at.queue, 3);
    std::vector<int64_t> here(3);
    const std::vector<Message> messages{{1 - at.both.rank(), there.buffer()},
                                        {1 - at.both.rank(), view(std::span(here))}};
    EXPECT_THAT([&] { at.both.exchange(messages, {}, at.queue).wait(); },
                ThrowsMessage<UsageError>(HasSubstr("1 of the 2 messages of an exchange are in "
                                                    "memory of a device")));
  });
}

TEST(ByMemory, PartsHaveBothMemories) {
  run_both(4, [](Rank& at) {
    const auto part = at.both.split(at.both.rank() % 2, -at.both.rank());
    const auto values = at.arrays.upload(at.queue, {at.both.rank(), 1});
    part->all_reduce(values.buffer(), ReduceOp::kSum, at.queue).wait(at.queue);
    const auto& got = at.arrays.download(at.queue, values);
    synchronize(at.queue);
    EXPECT_EQ(got, (std::vector<int64_t>{at.both.rank() % 2 == 0 ? 2 : 4, 2}));
    EXPECT_EQ(all_reduce_value(*part, int64_t{1}, ReduceOp::kSum), 2);
  });
}

}  // namespace
}  // namespace enodia
