// main() of the tests that run under mpirun. Rank 0 prints the progress, every rank its failures.
// A fatal failure (ASSERT or an exception) aborts the job, since the other ranks may be waiting for
// this one; at the end all ranks agree on the exit code.
#include "tests/mpi_main.h"

#include <cstdio>
#include <exception>
#include <string>

#include <gtest/gtest.h>

#include "collectives/collectives.h"
#include "common/log.h"

namespace enodia {
namespace {

MpiWorld* world = nullptr;

class FailureListener : public ::testing::EmptyTestEventListener {
 public:
  // Asking GoogleTest for the current test while it reports a result would wait for ever.
  void OnTestStart(const ::testing::TestInfo& test) override {
    test_ = std::string(test.test_suite_name()) + "." + test.name();
  }

  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) {
      return;
    }
    const char* file = result.file_name() == nullptr ? "unknown file" : result.file_name();
    std::fprintf(stderr,
                 "rank %d: %s failed at %s:%d\n%s\n",
                 world->communicator().rank(),
                 test_.c_str(),
                 file,
                 result.line_number(),
                 result.message());
    std::fflush(nullptr);
    if (result.fatally_failed()) {
      MpiWorld::abort(1);
    }
  }

 private:
  std::string test_;
};

int run_tests() {
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  if (world->communicator().rank() != 0) {
    delete listeners.Release(listeners.default_result_printer());
  }
  listeners.Append(new FailureListener);  // owned by GoogleTest
  const int32_t failed = RUN_ALL_TESTS() == 0 ? 0 : 1;
  return all_reduce_value(world->communicator(), failed, ReduceOp::kMax);
}

}  // namespace

MpiWorld& test_world() {
  return *world;
}

}  // namespace enodia

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  enodia::MpiWorld mpi(&argc, &argv);
  enodia::world = &mpi;
  try {
    return enodia::run_tests();
  } catch (const std::exception& error) {
    enodia::log_error(error.what());
    enodia::MpiWorld::abort(1);
  }
}
