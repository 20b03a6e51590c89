// The contract of communicators on the NCCL backend over the adversarial double.

#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"
#include "collectives/nccl/nccl_communicator.h"
#include "tests/collectives/communicator_contract.h"
#include "tests/collectives/nccl_double/nccl_double.h"
#include "tests/collectives/staged_communicator.h"

namespace enodia {
namespace {

using ::testing::IsEmpty;

class NcclContract : public ::testing::TestWithParam<std::tuple<int, ContractClause>> {};

TEST_P(NcclContract, Holds) {
  const auto& [world_size, clause] = GetParam();
  NcclDouble fakes({.seed = 3, .max_delay_us = 50});
  const NcclTable nccl = NcclDouble::nccl();
  run_loopback(world_size, [&, &clause = clause](Communicator& host) {
    CudaDevice device(NcclDouble::cuda(), host.rank());
    CudaStream stream(device);
    NcclEnqueuer enqueuer;
    {
      const auto communicator =
          make_staged(make_nccl_communicator(nccl, device, enqueuer, host.split(0, 0)),
                      stream.queue(),
                      device.index());
      clause.body(*communicator);
    }
    check_launch_order(enqueuer, host);
  });
  EXPECT_THAT(fakes.errors(), IsEmpty());
  EXPECT_EQ(fakes.leftovers(), "");
}

INSTANTIATE_TEST_SUITE_P(Worlds,
                         NcclContract,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4, 8),
                                            ::testing::ValuesIn(contract_clauses().begin(),
                                                                contract_clauses().end())),
                         [](const auto& test) {
                           return std::string(std::get<1>(test.param).name) + "OnWorld" +
                                  std::to_string(std::get<0>(test.param));
                         });

}  // namespace
}  // namespace enodia
