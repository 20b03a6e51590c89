#include "collectives/loopback/loopback.h"
#include "tests/collectives/large_message.h"

namespace enodia {
namespace {

TEST(LargeMessage, ArrivesThroughLoopback) {
  run_loopback(2, expect_large_message_arrives);
}

}  // namespace
}  // namespace enodia
