#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// A chunk that crosses from one rank to another.
struct ChunkTransfer {
  int32_t chunk;
  int32_t owner;
  int32_t holder;
  bool operator==(const ChunkTransfer&) const = default;
};

/// Who sends what in a sparse all-gather; its transpose is the sparse reduce-scatter. Pure data:
/// the same on all ranks, ordered by chunk, then holder. Owners that also hold a chunk transfer
/// nothing to themselves.
using SparseSchedule = std::vector<ChunkTransfer>;

/// Owner to holder directly: owners[c] is the owner of chunk c, holders[c] the ranks that want it.
SparseSchedule direct_schedule(std::span<const int32_t> owners,
                               std::span<const std::vector<int32_t>> holders);

/// The memory of a chunk on this rank; all chunks have the same count and dtype everywhere.
using ChunkBuffer = std::function<Buffer(int32_t chunk)>;

/// Copies every chunk from its owner to its holders. `owned` is asked for chunks this rank sends,
/// `held` for chunks it receives. Collective. Hecate's spAG (see fully sharded sparse data
/// parallelism in docs/vocabulary.md).
Work sparse_all_gather(Communicator& communicator,
                       const SparseSchedule& schedule,
                       const ChunkBuffer& owned,
                       const ChunkBuffer& held,
                       const Queue& after = Queue());

/// Sends every holder's chunk home. The owner adds what arrives to its own chunk, in order of the
/// holders' ranks, when the Work is waited for; on `after` when its memory is a device's.
/// float32 and float64 only. Collective (spRS).
Work sparse_reduce_scatter(Communicator& communicator,
                           const SparseSchedule& schedule,
                           const ChunkBuffer& held,
                           const ChunkBuffer& owned,
                           const Queue& after = Queue());

}  // namespace enodia
