// Tests that fail on rank 1 alone, to see what tests/mpi_main.cpp makes of it (tests/CMakeLists.txt
// says what is expected). Each test is run by itself.
#include <stdexcept>

#include <gtest/gtest.h>

#include "tests/mpi_main.h"

namespace enodia {
namespace {

TEST(Failing, ExpectOnOneRank) {
  EXPECT_NE(test_world().communicator().rank(), 1);
  test_world().communicator().barrier();
}

TEST(Failing, AssertOnOneRankWhileOthersWait) {
  ASSERT_NE(test_world().communicator().rank(), 1);
  test_world().communicator().barrier();
}

TEST(Failing, ExceptionOnOneRankWhileOthersWait) {
  if (test_world().communicator().rank() == 1) {
    throw std::runtime_error("rank 1 has enough");
  }
  test_world().communicator().barrier();
}

}  // namespace
}  // namespace enodia
