#include "collectives/nccl/nccl_communicator.h"

#include <atomic>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/backend.h"
#include "collectives/loopback/loopback.h"
#include "common/error.h"
#include "tests/collectives/device_array.h"
#include "tests/collectives/nccl_double/nccl_double.h"

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

/// What a rank of a NCCL world has.
struct NcclRank {
  Communicator& host;
  NcclEnqueuer& enqueuer;
  Communicator& nccl;
  Queue queue;
  DeviceArrays<int64_t>& arrays;
  CudaDevice& device;
};

void run_nccl(int ranks, const NcclTable& nccl, const std::function<void(NcclRank&)>& body) {
  run_loopback(ranks, [&](Communicator& host) {
    CudaDevice device(NcclDouble::cuda(), host.rank());
    CudaStream stream(device);
    DeviceArrays<int64_t> arrays(host.rank());
    NcclEnqueuer enqueuer;
    const auto communicator = make_nccl_communicator(nccl, device, enqueuer, host.split(0, 0));
    NcclRank rank{host, enqueuer, *communicator, stream.queue(), arrays, device};
    body(rank);
    synchronize(stream.queue());
    arrays.clear();
  });
}

TEST(NcclCommunicator, HostMemoryIsRefused) {
  NcclDouble fakes;
  run_nccl(2, NcclDouble::nccl(), [](NcclRank& at) {
    std::vector<float> values(3);
    const Buffer host = view(std::span(values));
    const std::vector<Message> message{{1 - at.nccl.rank(), host}};
    const auto refused = ThrowsMessage<UsageError>(
        AllOf(HasSubstr("3 float32 on device -1"), HasSubstr("communicator for host memory")));
    EXPECT_THAT([&] { at.nccl.exchange(message, {}).wait(); }, refused);
    EXPECT_THAT([&] { at.nccl.exchange({}, message).wait(); }, refused);
    EXPECT_THAT([&] { at.nccl.all_reduce(host, ReduceOp::kSum).wait(); }, refused);
    EXPECT_THAT([&] { at.nccl.broadcast(host, 0).wait(); }, refused);
    at.nccl.barrier();  // still usable
  });
  EXPECT_THAT(fakes.errors(), IsEmpty());
}

TEST(NcclCommunicator, LivesOnTheNodesOfTheHostsRanks) {
  NcclDouble fakes;
  const NcclTable nccl = NcclDouble::nccl();
  run_loopback(3,
               [&](Communicator& host) {
                 CudaDevice device(NcclDouble::cuda(), host.rank());
                 NcclEnqueuer enqueuer;
                 const auto communicator =
                     make_nccl_communicator(nccl, device, enqueuer, host.split(0, 0));
                 EXPECT_THAT(communicator->nodes(), ElementsAre(0, 1, 0));
                 EXPECT_THAT(communicator->split(0, -host.rank())->nodes(), ElementsAre(0, 1, 0));
               },
               {4, 2, 4});
}

/// Counts that reach NCCL, of calls that do nothing.
struct Calls {
  std::mutex mutex;
  std::vector<size_t> counts;
  void note(size_t count) {
    const std::lock_guard lock(mutex);
    counts.push_back(count);
  }
};

Calls& calls() {
  static Calls calls;
  return calls;
}

NcclTable counting_table() {
  NcclTable nccl = NcclDouble::nccl();
  calls().counts.clear();
  nccl.send = [](const void*, size_t count, ncclDataType_t, int, ncclComm_t, cudaStream_t) {
    return calls().note(count), ncclSuccess;
  };
  nccl.recv = [](void*, size_t count, ncclDataType_t, int, ncclComm_t, cudaStream_t) {
    return calls().note(count), ncclSuccess;
  };
  nccl.all_reduce =
      [](const void*, void*, size_t count, ncclDataType_t, ncclRedOp_t, ncclComm_t, cudaStream_t) {
        return calls().note(count), ncclSuccess;
      };
  return nccl;
}

TEST(NcclCommunicator, CountsAboveIntMaxReachNcclAsTheyAre) {
  NcclDouble fakes;
  constexpr int64_t kCount = int64_t{3} * std::numeric_limits<int>::max();
  run_nccl(2, counting_table(), [](NcclRank& at) {
    const auto array = at.arrays.make(at.queue, 1);
    Buffer huge{array.memory.get(), kCount, DType::kBFloat16, at.device.index()};
    const std::vector<Message> message{{1 - at.nccl.rank(), huge}};
    at.nccl.exchange(message, message, at.queue).wait(at.queue);
    at.nccl.all_reduce(huge, ReduceOp::kSum, at.queue).wait(at.queue);
  });
  EXPECT_THAT(calls().counts, ::testing::AllOf(::testing::SizeIs(6), ::testing::Each(kCount)));
}

TEST(NcclCommunicator, NothingIsLaunchedForZeroCounts) {
  NcclDouble fakes;
  run_nccl(2, counting_table(), [](NcclRank& at) {
    const Buffer none{nullptr, 0, DType::kFloat32, at.device.index()};
    const std::vector<Message> messages{{0, none}, {1, none}};
    at.nccl.exchange(messages, messages, at.queue).wait(at.queue);
    at.nccl.exchange({}, {}, at.queue).wait(at.queue);
    at.nccl.all_reduce(none, ReduceOp::kSum, at.queue).wait(at.queue);
    at.nccl.broadcast(none, 0, at.queue).wait(at.queue);
  });
  EXPECT_THAT(calls().counts, IsEmpty());
  EXPECT_THAT(fakes.errors(), IsEmpty());
}

TEST(NcclCommunicator, OnlyItsOwnCopiesAreQueued) {
  NcclDouble fakes;
  run_nccl(2, NcclDouble::nccl(), [](NcclRank& at) {
    const int me = at.nccl.rank();
    const auto out = at.arrays.make(at.queue, 4);
    const auto in = at.arrays.make(at.queue, 4);
    at.nccl
        .exchange(std::vector<Message>{{me, out.buffer()}, {1 - me, out.buffer()}},
                  std::vector<Message>{{me, in.buffer()}, {1 - me, in.buffer().slice(0, 4)}},
                  at.queue)
        .wait(at.queue);
    at.nccl  // in place
        .exchange(std::vector<Message>{{me, out.buffer()}},
                  std::vector<Message>{{me, out.buffer()}},
                  at.queue)
        .wait(at.queue);
    at.nccl.barrier();
    EXPECT_EQ(at.device.copies().device_to_device, 1);
    EXPECT_EQ(at.device.copies().host_to_device, 0);
    EXPECT_EQ(at.device.copies().device_to_host, 0);
  });
}

// ---- failures ----

TEST(NcclFailure, AnErrorThatComesLaterEndsTheWait) {
  NcclDouble fakes;
  std::atomic<bool> launched = false;
  std::atomic<int> thrown = 0;
  run_nccl(2, NcclDouble::nccl(), [&](NcclRank& at) {
    const auto array = at.arrays.upload(at.queue, content_of<int64_t>(0, 1));
    if (at.nccl.rank() == 1) {  // does not come, and its peer is told
      while (!launched) {
        std::this_thread::yield();
      }
      fakes.fail_communicators(ncclRemoteError);
      return;
    }
    Work work = at.nccl.all_reduce(array.buffer(), ReduceOp::kSum, at.queue);
    Work second = at.nccl.broadcast(array.buffer(), 0, at.queue);
    launched = true;
    EXPECT_THAT([&] { work.wait(); },
                ThrowsMessage<CommError>(HasSubstr("an operation of NCCL failed")));
    EXPECT_THAT([&] { second.wait(at.queue); },
                ThrowsMessage<CommError>(HasSubstr("world has failed before: an operation")));
    EXPECT_THROW(at.nccl.barrier(), CommError);
    EXPECT_THROW(at.nccl.split(0, 0), Error);
    ++thrown;
  });
  EXPECT_EQ(thrown, 1);
  fakes.errors();
  EXPECT_EQ(fakes.leftovers(), "");
}

TEST(NcclFailure, ACallThatFailsClosesItsGroupAndTheCommunicator) {
  NcclDouble fakes;
  NcclTable nccl = NcclDouble::nccl();
  nccl.send = [](const void*, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t) {
    return ncclInvalidArgument;
  };
  run_nccl(2, nccl, [](NcclRank& at) {
    const auto array = at.arrays.make(at.queue, 4);
    const std::vector<Message> message{{1 - at.nccl.rank(), array.buffer()}};
    EXPECT_THAT([&] { at.nccl.exchange(message, {}, at.queue).wait(); },
                ThrowsMessage<CommError>(HasSubstr("ncclSend failed")));
    EXPECT_EQ(NcclDouble::open_groups(), 0);
    EXPECT_THAT([&] { at.nccl.exchange({}, message, at.queue).wait(); },
                ThrowsMessage<CommError>(HasSubstr("has failed before: ncclSend failed")));
  });
  EXPECT_THAT(fakes.errors(), IsEmpty());
  EXPECT_EQ(fakes.leftovers(), "");
}

TEST(NcclFailure, RankZerosFailureAtTheStartIsEverybodys) {
  NcclDouble fakes;
  NcclTable nccl = NcclDouble::nccl();
  nccl.get_unique_id = [](ncclUniqueId*) { return ncclSystemError; };
  std::atomic<int> thrown = 0;
  run_loopback(3, [&](Communicator& host) {
    CudaDevice device(NcclDouble::cuda(), host.rank());
    NcclEnqueuer enqueuer;
    try {
      make_nccl_communicator(nccl, device, enqueuer, host.split(0, 0));
    } catch (const Error& error) {
      thrown += std::string(error.what()).find("ncclGetUniqueId failed") != std::string::npos;
    }
  });
  EXPECT_EQ(thrown, 3);
}

// ---- the order of launches ----

TEST(NcclEnqueuer, AnotherThreadIsRefused) {
  NcclEnqueuer enqueuer;
  enqueuer.enqueue("world", "exchange", [] {});
  std::string text;
  std::thread([&] {
    try {
      enqueuer.enqueue("world", "barrier", [] {});
    } catch (const UsageError& error) {
      text = error.what();
    }
  }).join();
  EXPECT_THAT(text, HasSubstr("another thread has launched NCCL operations"));
  EXPECT_EQ(enqueuer.launches(), 1);
}

TEST(NcclEnqueuer, RanksThatDifferAreNamed) {
  run_loopback(3, [](Communicator& host) {
    NcclEnqueuer enqueuer;
    enqueuer.enqueue("world", "exchange", [] {});
    check_launch_order(enqueuer, host);
    enqueuer.enqueue("world", host.rank() == 2 ? "barrier" : "exchange", [] {});
    enqueuer.enqueue("world", host.rank() == 2 ? "exchange" : "barrier", [] {});
    EXPECT_THAT(
        [&] { check_launch_order(enqueuer, host); },
        ThrowsMessage<CommError>(HasSubstr("rank 2 has launched other NCCL operations (3)")));
  });
}

}  // namespace
}  // namespace enodia
