#include "trainer/program.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <thread>

#include <ATen/Parallel.h>

#include "collectives/mpi/mpi_world.h"
#include "collectives/run_together.h"
#include "collectives/watch/watchdog.h"
#include "common/log.h"
#include "models/memory/tensor_memory.h"
#include "trainer/command_line.h"

namespace enodia {
namespace {

/// Without a sign of life a command ends after it; `train` knows better once it has a
/// configuration.
constexpr std::chrono::minutes kTimeout(20);

/// A rank computes with one share of the machine's cores, unless OMP_NUM_THREADS says otherwise.
void choose_threads(const Communicator& world) {
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    const auto nodes = world.nodes();
    const int mine = nodes[world.rank()];
    const auto neighbors = std::count(nodes.begin(), nodes.end(), mine);
    const auto cores = static_cast<long>(std::thread::hardware_concurrency());
    at::set_num_threads(static_cast<int>(std::max(1L, cores / neighbors)));
  }
}

int report(const std::exception& error, ExitCode code) {
  std::fflush(stdout);
  std::fprintf(stderr, "enodia: %s\n", error.what());
  return static_cast<int>(code);
}

/// Errors that all ranks share end the job in order, rank 0 speaking; any other ends it by abort,
/// since the others may be waiting inside MPI.
int run_on_ranks(int argc, char** argv, const CommandLine& line) {
  std::optional<Watchdog> watchdog;  // outlives MPI, whose end may hang as well
  MpiWorld mpi(&argc, &argv);
  Communicator& world = mpi.communicator();
  init_log(world.rank(), world.world_size());
  choose_threads(world);
  keep_tensors_in_block_pool();
  try {
    watchdog.emplace(world, SectionTimeouts::all(kTimeout));
    line.on_ranks(world, *watchdog);
    watchdog->board().enter(RunSection::kEnd);
    return 0;
  } catch (const ConfigError& error) {
    return world.rank() == 0 ? report(error, error.exit_code())
                             : static_cast<int>(error.exit_code());
  } catch (const SharedError& error) {
    return world.rank() == 0 ? report(error, error.exit_code())
                             : static_cast<int>(error.exit_code());
  } catch (const Error& error) {
    log_error(error.what());
    MpiWorld::abort(static_cast<int>(error.exit_code()));
  } catch (const std::exception& error) {
    log_error(error.what());
    MpiWorld::abort(static_cast<int>(ExitCode::kOther));
  }
}

int run_on_one(const CommandLine& line) {
  const LaunchedRank launched = launched_rank();
  if (launched.rank != 0) {
    return 0;
  }
  init_log(0, 1);
  try {
    line.on_one();
    return 0;
  } catch (const Error& error) {
    return report(error, error.exit_code());
  } catch (const std::exception& error) {
    return report(error, ExitCode::kOther);
  }
}

}  // namespace

int run_program(int argc, char** argv, const ModelParts& parts) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is an error of write(), with a sentence
  CommandLine line(parts);
  if (const std::optional<int> done = read_command_line(argc, argv, line)) {
    return *done;
  }
  return line.on_one ? run_on_one(line) : run_on_ranks(argc, argv, line);
}

}  // namespace enodia
