#pragma once

#include <cstdint>
#include <memory>

#include "collectives/communicator.h"

namespace enodia {

/// Owns MPI for the life of the process: initializes on construction (thread level SERIALIZED),
/// finalizes on destruction. Under `progress: inline` it lives on the main thread. mpi.h is
/// included nowhere outside collectives/mpi.
///
/// An exception that not all ranks share must not leave the scope of a MpiWorld: catch it inside
/// and call abort(), because the others may be waiting inside MPI. When it leaves nevertheless, MPI
/// is not finalized, which would wait for the others: mpirun ends the job once this process exits.
class MpiWorld {
 public:
  /// Longer messages travel in pieces: MPI counts in an int, and pieces bound its own buffers.
  static constexpr int64_t kChunkBytes = int64_t{256} << 20;

  /// Starts MPI; with no launcher it is a world of one. Throws CommError.
  MpiWorld(int* argc, char*** argv);
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  /// Over a duplicate of MPI_COMM_WORLD. Errors of MPI calls throw CommError.
  Communicator& communicator();

  /// Another communicator over all ranks, whose messages never meet those of the first. Collective.
  /// Communicators must be gone before the MpiWorld. Throws CommError.
  std::unique_ptr<Communicator> make_communicator(int64_t chunk_bytes = kChunkBytes);

  /// Ends every rank of the job with `exit_code`; does not return. For errors that not all ranks
  /// share: the others may be waiting inside MPI.
  [[noreturn]] static void abort(int exit_code);

 private:
  std::unique_ptr<Communicator> communicator_;
  int exceptions_;  // in flight when MPI was started
};

/// What the launcher says of this process, read from its environment without starting MPI:
/// commands without ranks act on rank 0 alone.
struct LaunchedRank {
  int rank = 0;
  int world_size = 1;
};

/// Knows Open MPI's mpirun (OMPI_COMM_WORLD_RANK, _SIZE), launchers that speak PMI (PMI_RANK,
/// PMI_SIZE: MPICH, Intel MPI) and srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS; a batch script
/// outside srun has the former only). The first complete pair holds; without one, 0 of 1.
LaunchedRank launched_rank();

}  // namespace enodia
