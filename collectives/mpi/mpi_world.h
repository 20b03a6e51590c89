#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace enodia {

/// Owns MPI for the life of the process: initializes on construction (thread level SERIALIZED),
/// finalizes on destruction. Under `progress: inline` it lives on the main thread. mpi.h is
/// included nowhere outside collectives/mpi.
class MpiWorld {
 public:
  /// Starts MPI; with no launcher it is a world of one. Throws CommError.
  MpiWorld(int* argc, char*** argv);
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  /// Over a duplicate of MPI_COMM_WORLD. Errors of MPI calls throw CommError.
  Communicator& communicator();

  /// Ends every rank of the job with `exit_code`; does not return. For errors that not all ranks
  /// share: the others may be waiting inside MPI.
  [[noreturn]] static void abort(int exit_code);

 private:
  std::unique_ptr<Communicator> communicator_;
};

/// What the launcher says of this process, read from its environment without starting MPI:
/// commands without ranks act on rank 0 alone.
struct LaunchedRank {
  int rank = 0;
  int world_size = 1;
};
LaunchedRank launched_rank();

}  // namespace enodia
