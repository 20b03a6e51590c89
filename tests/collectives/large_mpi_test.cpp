#include "tests/collectives/large_message.h"
#include "tests/mpi_main.h"

namespace enodia {
namespace {

TEST(LargeMessage, ArrivesThroughMpi) {
  expect_large_message_arrives(test_world().communicator());
}

}  // namespace
}  // namespace enodia
