// The NCCL backend on real devices: one rank per GPU, under mpirun or alone. Run by
// scripts/gpu_check.sh; exits with 77 where there is no device. Every rank takes the device of its
// number on its node.

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/backend.h"
#include "collectives/collectives.h"
#include "collectives/mpi/mpi_world.h"
#include "collectives/nccl/nccl_available.h"
#include "collectives/nccl/nccl_communicator.h"
#include "common/log.h"
#include "tests/collectives/communicator_contract.h"
#include "tests/collectives/device_array.h"
#include "tests/collectives/staged_communicator.h"

namespace enodia {
namespace {

constexpr int kSkipped = 77;

/// What all tests share: MPI, the real tables, and this rank's device.
struct World {
  World(MpiWorld& mpi_, int device_index)
      : mpi(mpi_),
        nccl(load_nccl_table()),
        device(load_cuda_table(), device_index) {}
  MpiWorld& mpi;
  NcclTable nccl;
  CudaDevice device;
  NcclEnqueuer enqueuer;

  std::unique_ptr<Communicator> make_communicator() {
    return make_nccl_communicator(nccl, device, enqueuer, mpi.make_communicator());
  }
};

World* world = nullptr;

/// This rank's number on its node.
int local_rank(const Communicator& communicator) {
  const auto nodes = communicator.nodes();
  const auto end = nodes.begin() + communicator.rank();
  return static_cast<int>(std::count(nodes.begin(), end, nodes[communicator.rank()]));
}

// ---- queues ----

TEST(GpuQueue, CopiesInOrderOfEventsOnTwoStreams) {
  CudaStream first(world->device);
  CudaStream second(world->device);
  DeviceArrays<int64_t> arrays(world->device.index());
  constexpr int64_t kCount = 1 << 22;  // long enough that an early reader would see it
  for (int round = 0; round < 20; ++round) {
    const auto content = content_of<int64_t>(0, round, kCount);
    const auto from = arrays.upload(first.queue(), content);
    const auto to = arrays.make(second.queue(), kCount);
    QueueEvent(first.queue()).wait(second.queue());
    second.queue().copy(to.memory.get(), from.memory.get(), from.bytes());
    const auto& got = arrays.download(second.queue(), to);
    const QueueEvent end(second.queue());
    while (!end.done()) {
    }
    EXPECT_EQ(got, content);
    QueueEvent(second.queue()).wait(first.queue());
    arrays.clear();
  }
}

TEST(GpuQueue, CountsCopies) {
  CudaStream stream(world->device);
  DeviceArrays<float> arrays(world->device.index());
  CopyCounts& copies = world->device.copies();
  const std::array<int64_t, 3> before{
      copies.host_to_device, copies.device_to_host, copies.device_to_device};
  const auto array = arrays.upload(stream.queue(), std::vector<float>{1, 2, 3});
  const auto other = arrays.make(stream.queue(), 3);
  stream.queue().copy(other.memory.get(), array.memory.get(), array.bytes());
  arrays.download(stream.queue(), other);
  synchronize(stream.queue());
  EXPECT_EQ(copies.host_to_device - before[0], 1);
  EXPECT_EQ(copies.device_to_host - before[1], 1);
  EXPECT_EQ(copies.device_to_device - before[2], 1);
}

// ---- the contract ----

/// NCCL adds in its own order and rounds bfloat16 after each addition: with three ranks and more
/// these clauses ask for too much.
bool asks_for_bits(const ContractClause& clause, int world_size) {
  const std::string_view name = clause.name;
  return world_size > 2 &&
         (name == "ReducesWithTheBitsOfASequentialSum" || name == "SumsBFloat16InFloat32");
}

class GpuContract : public ::testing::TestWithParam<ContractClause> {};

TEST_P(GpuContract, Holds) {
  if (asks_for_bits(GetParam(), world->mpi.communicator().world_size())) {
    GTEST_SKIP() << "NCCL's sums have other bits";
  }
  CudaStream stream(world->device);
  {
    const auto communicator =
        make_staged(world->make_communicator(), stream.queue(), world->device.index());
    GetParam().body(*communicator);
  }
  check_launch_order(world->enqueuer, world->mpi.communicator());
}

INSTANTIATE_TEST_SUITE_P(All,
                         GpuContract,
                         ::testing::ValuesIn(contract_clauses().begin(), contract_clauses().end()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(GpuCommunicator, SumsAreAsNearAsTheirTypeAllows) {
  CudaStream stream(world->device);
  const auto communicator = world->make_communicator();
  const int ranks = communicator->world_size();
  DeviceArrays<float> floats(world->device.index());
  std::vector<float> values(100'000);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i % 97) / 7 + static_cast<float>(communicator->rank());
  }
  const auto array = floats.upload(stream.queue(), values);
  communicator->all_reduce(array.buffer(), ReduceOp::kSum, stream.queue()).wait(stream.queue());
  const auto& got = floats.download(stream.queue(), array);
  synchronize(stream.queue());
  for (size_t i = 0; i < values.size(); ++i) {
    const double expected = ranks * (static_cast<double>(i % 97) / 7) + ranks * (ranks - 1) / 2.0;
    EXPECT_NEAR(got[i], expected, 1e-5 * expected + 1e-6);
  }
  floats.clear();
}

int run_tests() {
  const bool first = world->mpi.communicator().rank() == 0;
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  if (!first) {
    delete listeners.Release(listeners.default_result_printer());
  }
  const int32_t failed = RUN_ALL_TESTS() == 0 ? 0 : 1;
  return all_reduce_value(world->mpi.communicator(), failed, ReduceOp::kMax);
}

int check(MpiWorld& mpi) {
  const NcclAvailability availability = nccl_available();
  const int32_t missing = availability.available ? 0 : 1;
  if (all_reduce_value(mpi.communicator(), missing, ReduceOp::kMax) != 0) {
    std::printf("rank %d SKIPPED: %s\n",
                mpi.communicator().rank(),
                missing != 0 ? availability.why_not.c_str() : "another rank has no device");
    return kSkipped;
  }
  World shared(mpi, local_rank(mpi.communicator()));
  world = &shared;
  const int failed = run_tests();
  world = nullptr;
  return failed;
}

}  // namespace
}  // namespace enodia

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  enodia::MpiWorld mpi(&argc, &argv);
  try {
    return enodia::check(mpi);
  } catch (const std::exception& error) {
    enodia::log_error(error.what());
    enodia::MpiWorld::abort(1);
  }
}
