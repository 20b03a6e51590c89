// The double finds what it is there to find.

#include "tests/collectives/nccl_double/nccl_double.h"

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/backend.h"
#include "collectives/loopback/loopback.h"
#include "collectives/nccl/nccl_communicator.h"
#include "tests/collectives/device_array.h"

namespace enodia {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr FakeOptions kSlow{.seed = 2, .max_delay_us = 2000};

/// Two streams of one device.
class NcclDoubleTest : public ::testing::Test {
 protected:
  // The arrays come first: copies may come late.
  DeviceArrays<int64_t> arrays_{0};
  NcclDouble fakes_{kSlow};
  CudaDevice device_{NcclDouble::cuda(), 0};
  CudaStream first_stream_{device_};
  CudaStream second_stream_{device_};
  Queue first_ = first_stream_.queue();
  Queue second_ = second_stream_.queue();

  void TearDown() override {
    synchronize(first_);
    synchronize(second_);
    arrays_.clear();
  }
};

TEST_F(NcclDoubleTest, AReaderThatDoesNotWaitIsAnError) {
  const auto array = arrays_.upload(first_, content_of<int64_t>(0, 1));
  arrays_.download(second_, array);
  EXPECT_THAT(fakes_.errors(),
              Contains("a copy reads memory without waiting for a copy, which writes it"));
}

TEST_F(NcclDoubleTest, AWriterThatDoesNotWaitForAReaderIsAnError) {
  const auto array = arrays_.upload(first_, content_of<int64_t>(0, 1));
  synchronize(first_);
  arrays_.download(first_, array);
  arrays_.fill(second_, array, content_of<int64_t>(0, 2));
  EXPECT_THAT(fakes_.errors(),
              Contains("a copy writes memory without waiting for a copy, which reads it"));
}

TEST_F(NcclDoubleTest, AnEventPutsTwoStreamsInOrder) {
  const auto array = arrays_.upload(first_, content_of<int64_t>(0, 1));
  QueueEvent(first_).wait(second_);
  const auto& got = arrays_.download(second_, array);
  synchronize(second_);
  EXPECT_EQ(got, content_of<int64_t>(0, 1));
  EXPECT_THAT(fakes_.errors(), IsEmpty());
}

TEST_F(NcclDoubleTest, TheHostSeesGarbageUntilItWaits) {
  const auto array = arrays_.upload(first_, content_of<int64_t>(0, 1));
  const auto& got = arrays_.download(first_, array);
  EXPECT_THAT(got, Each(static_cast<int64_t>(0xD6D6D6D6D6D6D6D6)));
  EXPECT_THAT(fakes_.errors(), IsEmpty());  // and all has run now, but the host does not know it
  EXPECT_THAT(got, Each(static_cast<int64_t>(0xD6D6D6D6D6D6D6D6)));
  synchronize(first_);
  EXPECT_EQ(got, content_of<int64_t>(0, 1));
}

TEST_F(NcclDoubleTest, ThePoisonIsThereBeforeTheOperationRuns) {
  const auto array = arrays_.upload(first_, content_of<int64_t>(0, 1));
  synchronize(first_);
  QueueEvent(second_).wait(first_);
  const auto source = arrays_.upload(second_, content_of<int64_t>(0, 2));
  synchronize(second_);
  first_.copy(array.memory.get(), source.memory.get(), array.bytes());
  // On its own thread: without the poison this would be the old content.
  const auto& early = arrays_.download(second_, array);
  synchronize(second_);
  EXPECT_NE(early, content_of<int64_t>(0, 1));
}

TEST_F(NcclDoubleTest, MemoryThatIsFreedTwiceOrUsedAfterwardsIsAnError) {
  void* memory = first_.table().alloc(first_.handle(), 8);
  void* other = first_.table().alloc(first_.handle(), 8);
  first_.table().free(first_.handle(), memory);
  first_.copy(other, memory, 8);
  EXPECT_THAT(fakes_.errors(), Contains("a copy uses memory that was freed"));
  first_.table().free(first_.handle(), memory);
  EXPECT_THAT(fakes_.errors(), Contains("memory was freed twice, or was never allocated"));
  second_.table().free(second_.handle(), other);  // while the first stream may still write it
  EXPECT_THAT(fakes_.errors(),
              Contains("a free writes memory without waiting for a copy, which writes it"));
}

TEST_F(NcclDoubleTest, ACopyPastTheEndIsAnErrorAndNotDone) {
  const auto array = arrays_.make(first_, 4);
  const auto larger = arrays_.make(first_, 5);
  first_.copy(larger.memory.get(), array.memory.get(), array.bytes());
  EXPECT_THAT(fakes_.errors(), IsEmpty());
  first_.copy(array.memory.get(), larger.memory.get(), larger.bytes());
  EXPECT_THAT(fakes_.errors(), Contains("a copy goes past the end of its memory"));
}

TEST_F(NcclDoubleTest, AHostThatReadsTheDevicesMemoryTooEarlyIsAnError) {
  const auto array = arrays_.upload(first_, content_of<int64_t>(0, 1));
  fakes_.check_host_reads(array.memory.get(), array.bytes());
  EXPECT_THAT(fakes_.errors(),
              Contains("the host reads memory without waiting for a copy, which writes it"));
}

/// The errors of two ranks that run `body` with two communicators.
std::vector<std::string> errors_of(
    const std::function<void(Communicator&, Communicator&, const Buffer&, const Queue&)>& body,
    const FakeOptions& options = kSlow) {
  NcclDouble fakes(options);
  const NcclTable nccl = NcclDouble::nccl();
  run_loopback(2, [&](Communicator& host) {
    CudaDevice device(NcclDouble::cuda(), host.rank());
    CudaStream stream(device);
    NcclEnqueuer enqueuer;
    const auto first = make_nccl_communicator(nccl, device, enqueuer, host.split(0, 0));
    const auto second = first->split(0, 0);
    DeviceArrays<int64_t> arrays(host.rank());
    const auto array = arrays.upload(stream.queue(), content_of<int64_t>(host.rank(), 1));
    body(*first, *second, array.buffer(), stream.queue());
    synchronize(stream.queue());
  });
  return fakes.errors();
}

TEST(NcclDoubleOrder, AnotherOrderOfLaunchesIsAnErrorAndHangs) {
  FakeOptions impatient = kSlow;
  impatient.patience = std::chrono::milliseconds(200);
  const auto errors = errors_of(
      [](Communicator& a, Communicator& b, const Buffer& buffer, const Queue& queue) {
        Communicator& first = a.rank() == 0 ? a : b;
        Communicator& second = a.rank() == 0 ? b : a;
        first.all_reduce(buffer, ReduceOp::kSum, queue).wait(queue);
        second.all_reduce(buffer, ReduceOp::kSum, queue).wait(queue);
      },
      impatient);
  EXPECT_THAT(errors, Contains(HasSubstr("where device")));
  EXPECT_THAT(errors, Contains(HasSubstr("waits for a rank that does not come")));
}

TEST(NcclDoubleOrder, TheSameOrderIsNone) {
  EXPECT_THAT(
      errors_of([](Communicator& a, Communicator& b, const Buffer& buffer, const Queue& queue) {
        a.all_reduce(buffer, ReduceOp::kSum, queue).wait(queue);
        b.broadcast(buffer, 1, queue).wait(queue);
      }),
      IsEmpty());
}

TEST(NcclDoubleOrder, CountsThatDifferAreAnError) {
  EXPECT_THAT(
      errors_of([](Communicator& a, Communicator&, const Buffer& buffer, const Queue& queue) {
        const std::vector<Message> message{{1 - a.rank(), buffer.slice(0, 8 + a.rank())}};
        const std::vector<Message> none;
        a.exchange(a.rank() == 0 ? message : none, a.rank() == 0 ? none : message, queue)
            .wait(queue);
      }),
      Contains(HasSubstr("a send of 8 int64 meets a receive of 9 int64")));
}

}  // namespace
}  // namespace enodia
