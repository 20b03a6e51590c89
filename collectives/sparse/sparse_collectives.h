#pragma once

#include <cstdint>
#include <functional>

#include "collectives/communicator.h"
#include "collectives/sparse/sparse_schedule.h"

namespace enodia {

/// The memory of a chunk on this rank; it has the same count and dtype everywhere.
using ChunkBuffer = std::function<Buffer(int32_t chunk)>;

/// Copies every chunk from its owner to its holders. `owned` is asked for chunks this rank owns,
/// `held` for others that it receives and maybe sends on. Rounds that others wait for block the
/// caller until they have come, unless a communication thread carries them out or the memory is a
/// device's. Collective. Hecate's spAG (see fully sharded sparse data parallelism in
/// docs/vocabulary.md).
Work sparse_all_gather(Communicator& communicator,
                       const SparseSchedule& schedule,
                       const ChunkBuffer& owned,
                       const ChunkBuffer& held,
                       const Queue& after = Queue());

/// Sends every holder's chunk home along the transpose of `schedule`, the gather's. Where others'
/// chunks come by they are added to the holder's, in order of rank: `held` is overwritten then. The
/// owner adds what arrives to its own chunk, in order of rank, when the Work is waited for; on
/// `after` when its memory is a device's. float32 and float64 only. Collective (spRS).
Work sparse_reduce_scatter(Communicator& communicator,
                           const SparseSchedule& schedule,
                           const ChunkBuffer& held,
                           const ChunkBuffer& owned,
                           const Queue& after = Queue());

}  // namespace enodia
