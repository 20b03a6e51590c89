// A sample of the layouts over MPI. The world has as many ranks as mpirun started; each case with
// that many ranks in the sample runs. Must give the bits that loopback gives.
#include <set>

#include <gmock/gmock.h>

#include "collectives/progress/communication_thread.h"
#include "tests/mpi_main.h"
#include "tests/parity/parity_comparison.h"

namespace enodia {
namespace {

using testing::IsEmpty;

std::vector<ParityCase> sample_of(int world_size) {
  const std::set<std::string> sample = {"W1Accumulation3",
                                        "W2Ep2Accumulation3",
                                        "W2Ep2TiedWithBiases",
                                        "W3Ep1",
                                        "W3Ep3RankWithoutTokens",
                                        "W4Ep2Masks",
                                        "W4Ep4SixExperts",
                                        "W4Ep4AllToOneExpert",
                                        "W2Tp2Ep2",
                                        "W3Tp3SharedAndFirstDense",
                                        "W4Tp2Zero1",
                                        "W4Tp4TiedWithBiases",
                                        "W4Ep2Stripes2"};
  std::vector<ParityCase> cases;
  for (ParityCase& parity_case : parity_cases()) {
    if (sample.count(parity_case.name) > 0 && parity_case.layout.world_size == world_size) {
      cases.push_back(std::move(parity_case));
    }
  }
  return cases;
}

// Meanwhile the world itself is used only while the communication thread sleeps.
std::vector<ParityStep> run_with_progress_thread(Communicator& world,
                                                 const ParityCase& parity_case,
                                                 ParityType type) {
  CommunicationThread thread({.chunk_bytes = 20000});
  return run_parity_case(
      world, parity_case, parity_case.layout, type, [&](auto inner, Traffic traffic) {
        return thread.take_over(std::move(inner), traffic);
      });
}

// All ranks take part in the run; rank 0 judges.
void expect_parity(Communicator& world, const ParityCase& parity_case, ParityType type) {
  const auto over_mpi = run_parity_case(world, parity_case, parity_case.layout, type);
  const auto with_threads = run_with_progress_thread(world, parity_case, type);
  if (world.rank() > 0) {
    return;
  }
  const ReferenceRun reference = run_reference(parity_case, parity_case.layout.dp());
  const auto one_rank = run_one_rank(parity_case, type);
  EXPECT_THAT(compare_layout("mpi", over_mpi, one_rank, reference, type), IsEmpty());
  const auto over_threads = run_parity_case_on_threads(parity_case, parity_case.layout, type);
  EXPECT_THAT(differing_bits(over_mpi, over_threads), IsEmpty());
  EXPECT_THAT(differing_bits(with_threads, over_threads), IsEmpty());
}

TEST(ParityOverMpi, ComputesWhatTheReferenceComputesAndLoopbackBitForBit) {
  Communicator& world = test_world().communicator();
  const std::vector<ParityCase> cases = sample_of(world.world_size());
  EXPECT_FALSE(cases.empty()) << "no case for " << world.world_size() << " ranks";
  for (const ParityCase& parity_case : cases) {
    SCOPED_TRACE(parity_case.name);
    expect_parity(world, parity_case, ParityType::kFloat32);
    expect_parity(world, parity_case, ParityType::kFloat64);
  }
}

}  // namespace
}  // namespace enodia
