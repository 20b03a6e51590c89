// Invariant 1 on a real GPU, which all ranks share; scripts/gpu_check.sh runs it.

#include <cstdio>

#include <gmock/gmock.h>

#include "collectives/loopback/loopback.h"
#include "common/error.h"
#include "tests/parity/parity_comparison.h"
#include "trainer/run/cuda_compute.h"

namespace enodia {
namespace {

using testing::IsEmpty;

constexpr int kSkipped = 77;

class ParityOnGpu : public testing::TestWithParam<ParityCase> {};

TEST_P(ParityOnGpu, TheLayoutComputesWhatTheReferenceComputes) {
  const ParityCase& parity_case = GetParam();
  const ReferenceRun reference = run_reference(parity_case, parity_case.layout.dp());
  for (const ParityType type : {ParityType::kFloat64, ParityType::kFloat32}) {
    std::vector<ParityStep> steps;
    run_loopback(parity_case.layout.world_size, [&](Communicator& world) {
      CudaCompute cuda(0);
      auto mine =
          run_parity_case(world, parity_case, parity_case.layout, type, {}, {cuda.compute(), {}});
      if (world.rank() == 0) {
        steps = std::move(mine);
      }
    });
    const std::string name = type == ParityType::kFloat64 ? "float64" : "float32";
    EXPECT_THAT(compare_layout(name, steps, run_one_rank(parity_case, type), reference, type),
                IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts,
                         ParityOnGpu,
                         testing::ValuesIn(parity_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace enodia

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  try {
    enodia::open_cuda_kernels();
  } catch (const enodia::Error& error) {
    std::printf("SKIPPED: %s\n", error.what());
    return enodia::kSkipped;
  }
  return RUN_ALL_TESTS();
}
