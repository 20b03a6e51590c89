#include "collectives/mpi/mpi_world.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>

#include "collectives/mpi/mpi_communicator.h"
#include "common/error.h"
#include "common/log.h"

namespace enodia {
namespace {

void start_mpi(int* argc, char*** argv) {
  int initialized = 0;
  ENODIA_MPI(MPI_Initialized(&initialized));
  if (initialized != 0) {
    throw CommError("MPI was started before; a process can have one MpiWorld in its life");
  }
  int provided = MPI_THREAD_SINGLE;
  ENODIA_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided));
  if (provided < MPI_THREAD_SERIALIZED) {
    throw CommError("this MPI library allows calls from the main thread only (level " +
                    std::to_string(provided) +
                    "); Enodia needs MPI_THREAD_SERIALIZED: use an MPI built with threads");
  }
  ENODIA_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
}

std::optional<int> number_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) {
    return std::nullopt;
  }
  const std::string_view digits(text);
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

MpiWorld::MpiWorld(int* argc, char*** argv) : exceptions_(std::uncaught_exceptions()) {
  start_mpi(argc, argv);
  communicator_ = make_communicator();
}

MpiWorld::~MpiWorld() {
  if (std::uncaught_exceptions() > exceptions_) {
    log_error("an exception leaves MpiWorld: MPI is not finalized, the job ends with this process");
    return;
  }
  communicator_.reset();
  const int code = MPI_Finalize();
  if (code != MPI_SUCCESS) {
    log_error("MPI_Finalize failed with error code " + std::to_string(code));
  }
}

Communicator& MpiWorld::communicator() {
  return *communicator_;
}

std::unique_ptr<Communicator> MpiWorld::make_communicator(int64_t chunk_bytes) {
  MPI_Comm comm = MPI_COMM_NULL;
  ENODIA_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
  return std::make_unique<MpiCommunicator>(std::make_shared<MpiLink>(comm, chunk_bytes),
                                           node_of_this_process(comm));
}

void MpiWorld::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

LaunchedRank launched_rank() {
  static constexpr std::array<std::pair<const char*, const char*>, 3> kLaunchers{{
      {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
      {"PMI_RANK", "PMI_SIZE"},
      {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
  }};
  for (const auto& [rank_name, size_name] : kLaunchers) {
    const std::optional<int> rank = number_from_environment(rank_name);
    const std::optional<int> world_size = number_from_environment(size_name);
    if (rank && world_size && *rank >= 0 && *rank < *world_size) {
      return {*rank, *world_size};
    }
  }
  return {};
}

}  // namespace enodia
