#include "collectives/nccl/nccl_table.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/nccl/cuda_table.h"
#include "collectives/nccl/nccl_available.h"
#include "common/error.h"

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const std::string kBuiltFor = std::to_string(NCCL_MAJOR) + "." + std::to_string(NCCL_MINOR);

TEST(NcclTable, AMissingLibraryIsNamed) {
  EXPECT_THAT([] { load_nccl_table("libenodia_nowhere.so.2"); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("the library libenodia_nowhere.so.2"),
                                             HasSubstr("LD_LIBRARY_PATH"))));
  EXPECT_THAT([] { load_cuda_table("libenodia_nowhere.so.2"); }, ::testing::Throws<CommError>());
}

TEST(NcclTable, AnotherVersionIsRefusedWithThePathFound) {
  EXPECT_THAT([] { load_nccl_table(ENODIA_OTHER_VERSION_LIBRARY); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("NCCL 2.19.3 was found as"),
                                             HasSubstr(ENODIA_OTHER_VERSION_LIBRARY),
                                             HasSubstr("built for " + kBuiltFor))));
  EXPECT_THAT([] { load_cuda_table(ENODIA_OTHER_VERSION_LIBRARY); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("CUDA runtime 9 was found as"),
                                             HasSubstr(ENODIA_OTHER_VERSION_LIBRARY))));
}

TEST(NcclTable, AMissingFunctionIsNamedWithThePathFound) {
  EXPECT_THAT([] { load_nccl_table(ENODIA_FEW_FUNCTIONS_LIBRARY); },
              ThrowsMessage<CommError>(AllOf(HasSubstr(ENODIA_FEW_FUNCTIONS_LIBRARY),
                                             HasSubstr("has no function ncclGetUniqueId"))));
}

TEST(NcclTable, AnErrorOfNcclTellsCallAndMessage) {
  NcclTable nccl{};
  nccl.get_error_string = [](ncclResult_t) { return "remote process exited"; };
  nccl.check(ncclSuccess, "ncclSend");
  EXPECT_THAT([&] { nccl.check(ncclRemoteError, "ncclSend"); },
              ThrowsMessage<CommError>(HasSubstr("ncclSend failed: remote process exited (6)")));
}

#ifdef ENODIA_REAL_NCCL_LIBRARY
TEST(NcclTable, TheLibraryOfThisMachineIsTheOneOfTheHeader) {
  const NcclTable nccl = load_nccl_table(ENODIA_REAL_NCCL_LIBRARY);
  int version = 0;
  EXPECT_EQ(nccl.get_version(&version), ncclSuccess);
  EXPECT_EQ(version / 100, NCCL_VERSION_CODE / 100);
}
#endif

TEST(NcclAvailable, SaysWhyNot) {
  const NcclAvailability availability = nccl_available();
  EXPECT_EQ(availability.available, availability.why_not.empty()) << availability.why_not;
}

}  // namespace
}  // namespace enodia
