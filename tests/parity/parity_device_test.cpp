// Invariant 1 where nothing that the blocks compute with is in the host's memory.

#include <gmock/gmock.h>

#include "collectives/decorators/by_memory.h"
#include "collectives/loopback/loopback.h"
#include "tests/device_double/device_double.h"
#include "tests/device_double/streamed_communicator.h"
#include "tests/parity/parity_comparison.h"

namespace enodia {
namespace {

using testing::IsEmpty;

struct DeviceRun {
  std::vector<std::vector<ParityStep>> steps;  // of each rank
  std::vector<int> waits;                      // of each rank's queues because of communication
  std::vector<std::string> races;
};

/// Every rank has a queue for what it computes and one for each communicator.
DeviceRun run_on_device(const ParityCase& parity_case,
                        ParityType type,
                        int rank_that_ignores = 0,
                        int ignored_wait = 0) {
  const int world_size = parity_case.layout.world_size;
  DeviceRun run{std::vector<std::vector<ParityStep>>(world_size), std::vector<int>(world_size), {}};
  const auto body = [&](Communicator& world) {
    const auto waits =
        std::make_shared<StreamWaits>(world.rank() == rank_that_ignores ? ignored_wait : 0);
    DoubleQueue queue;
    const CurrentQueue current(queue);
    const ParityMachine machine{{DeviceDouble::device(), queue.queue()},
                                [] { return DeviceDouble::copies().to_host; }};
    const Decorate decorate = [&](std::unique_ptr<Communicator> inner, Traffic) {
      auto host = inner->split(0, inner->rank());
      return make_by_memory(std::move(host), make_streamed(std::move(inner), waits));
    };
    run.steps[world.rank()] =
        run_parity_case(world, parity_case, parity_case.layout, type, decorate, machine);
    run.waits[world.rank()] = waits->count();
  };
  run_loopback(world_size, body, parity_case.layout.nodes);
  run.races = DeviceDouble::instance().take_races();
  return run;
}

/// Micro-batches of a rank in a step.
int64_t micro_batches_of(const ParityCase& parity_case, size_t step, int rank) {
  const ParityLayout& layout = parity_case.layout;
  const auto all = static_cast<int64_t>(parity_case.steps[step].size());
  const int64_t first = rank / layout.tp;
  return first < all ? (all - first + layout.dp() - 1) / layout.dp() : 0;
}

class ParityOnDevice : public testing::TestWithParam<ParityCase> {};

// What the host computes is held against the reference by parity_test.
TEST_P(ParityOnDevice, TheLayoutComputesWhatItComputesOnTheHost) {
  const ParityCase& parity_case = GetParam();
  const DeviceRun run = run_on_device(parity_case, ParityType::kFloat64);
  const ReferenceRun host{
      run_parity_case_on_threads(parity_case, parity_case.layout, ParityType::kFloat64)};
  EXPECT_THAT(run.races, IsEmpty());
  EXPECT_THAT(compare_one_rank("device", run.steps[0], host, ParityType::kFloat64), IsEmpty());
}

// Decisions of a router are read once for a layer and micro-batch, and by backward never. Besides
// that, what a step has measured is read once, and the gradient's norm.
TEST_P(ParityOnDevice, ReadsOnceForEachMoeLayerAndMicroBatch) {
  ParityCase parity_case = GetParam();
  const ReferenceOptions& options = parity_case.options;
  const int64_t moe_layers =
      options.num_experts > 0 ? options.num_hidden_layers - options.first_k_dense_replace : 0;
  const auto ranks = run_on_device(parity_case, ParityType::kFloat32).steps;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    for (size_t step = 0; step < ranks[rank].size(); ++step) {
      const int64_t calls =
          moe_layers * micro_batches_of(parity_case, step, static_cast<int>(rank));
      EXPECT_LE(ranks[rank][step].gradient_copies, calls + 1) << "rank " << rank;
      EXPECT_EQ(ranks[rank][step].update_copies, 1) << "rank " << rank;
    }
  }
}

// A queue that does not wait for another where a communication needs it is found, whichever it is.
// Without replicas: a later gather on the same queue covers for the waits of an earlier one.
TEST(ParityOnDeviceWaits, AreAllNeeded) {
  for (const char* name : {"W2Ep2Zero1TiedWithBiases", "W2Tp2Ep2"}) {
    const std::vector<ParityCase> cases = parity_cases();
    const ParityCase& parity_case =
        *std::find_if(cases.begin(), cases.end(), [&](const auto& c) { return c.name == name; });
    const int rank = parity_case.layout.world_size - 1;
    const int waits = run_on_device(parity_case, ParityType::kFloat32).waits[rank];
    EXPECT_GT(waits, 20);
    std::vector<int> unnoticed;
    for (int ignored = 1; ignored <= waits; ++ignored) {
      const DeviceRun run = run_on_device(parity_case, ParityType::kFloat32, rank, ignored);
      if (run.races.empty()) {
        unnoticed.push_back(ignored);
      }
    }
    EXPECT_THAT(unnoticed, IsEmpty()) << name << ", of " << waits;
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts,
                         ParityOnDevice,
                         testing::ValuesIn(parity_cases()),
                         [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(Plans,
                         ParityOnDevice,
                         testing::ValuesIn(placement_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace enodia
