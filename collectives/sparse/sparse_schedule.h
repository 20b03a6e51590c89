#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace enodia {

/// Elements [first, first + count) of a chunk that cross from one rank to another.
struct ChunkTransfer {
  int32_t chunk;
  int32_t from;
  int32_t to;
  int64_t first;
  int64_t count;
  bool operator==(const ChunkTransfer&) const = default;
};

/// Transfers that travel together, ordered by chunk, receiver (transposed: sender) and first
/// element. They start after the round `after` of the schedule has arrived (-1 = at once) and after
/// all rounds before have started.
struct TransferRound {
  std::vector<ChunkTransfer> transfers;
  int after = -1;
  bool operator==(const TransferRound&) const = default;
};

/// Who sends what when in a sparse all-gather; transposed, in a sparse reduce-scatter. Pure data,
/// the same on all ranks. Every holder receives each element of its chunks once, and only holders
/// and owners take part: a rank sends on what it has for itself. Owners receive nothing.
struct SparseSchedule {
  std::vector<int32_t> owners;  ///< of each chunk
  std::vector<TransferRound> rounds;
  bool operator==(const SparseSchedule&) const = default;
};

/// Where chunks are and where they are wanted: one entry a chunk.
struct ChunkPlaces {
  std::vector<int32_t> owners;
  std::vector<std::vector<int32_t>> holders;  ///< ranks, in any order; maybe the owner
  std::vector<int64_t> elements;
};

/// Owner to holder directly, in one round.
SparseSchedule direct_schedule(const ChunkPlaces& places);

/// A chunk crosses to a node once: each holder there receives another stripe of it, and then they
/// exchange stripes. `nodes[r]` is the node of rank r. A chunk travels in pieces of at most
/// `piece_elements`, of which one crosses while the stripes of the one before are exchanged.
SparseSchedule node_multicast_schedule(const ChunkPlaces& places,
                                       std::span<const int> nodes,
                                       int64_t piece_elements);

/// The same as a tree: a node sends each piece on to at most `fan_out` others, so that an owner
/// whose chunk goes to many nodes does not send it to all of them.
SparseSchedule relay_schedule(const ChunkPlaces& places,
                              std::span<const int> nodes,
                              int64_t piece_elements,
                              int fan_out);

/// Every transfer backwards, the last first.
SparseSchedule transposed(const SparseSchedule& schedule);

/// Where one schedule begins to pay more than another; docs/performance.md has the measurements.
struct ScheduleRule {
  int64_t small_chunk_bytes = int64_t{32} << 10;  ///< below, a round costs more than a crossing
  int64_t piece_bytes = int64_t{256} << 10;
  int wide_fan_out = 3;  ///< a chunk that goes to more other nodes is relayed
};

/// As a tree where a chunk goes to many nodes; else once to each node where that saves a crossing
/// between nodes; else directly, and so where chunks are small. `nodes[r]` is the node of rank r.
SparseSchedule choose_schedule(const ChunkPlaces& places,
                               std::span<const int> nodes,
                               int64_t element_bytes,
                               const ScheduleRule& rule = {});

}  // namespace enodia
