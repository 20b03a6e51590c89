#pragma once

#include <cstdint>
#include <span>
#include <tuple>
#include <vector>

#include "parallel/placement/quota_solver.h"

namespace enodia {

/// Replicas by greed: an expert comes to a node that has `threshold` tokens for it, and owners
/// above `limit` tokens give away the rest; these parcels, the largest first, fill the emptiest
/// ranks of their nodes up to the limit. No allocation once it has grown. Local.
class ReplicaConstruction {
 public:
  /// At most `slots` replicas on a rank. Borrows the topology.
  ReplicaConstruction(const Topology& topology, int slots) : topology_(topology), slots_(slots) {}

  void run(std::span<const int32_t> owners,
           const NodeCounts& counts,
           int64_t threshold,
           int64_t limit,
           Replicas& replicas);

 private:
  /// Tokens of an expert that a node is to compute and that have no rank yet.
  struct Parcel {
    int64_t tokens;
    int expert;
    int node;
    bool is_excess;  ///< of a rank that owns the expert
    bool operator<(const Parcel& other) const {
      return std::tie(tokens, other.expert, other.node) < std::tie(other.tokens, expert, node);
    }
  };

  void assign_to_nodes(const NodeCounts& counts, int64_t threshold);
  void export_excess(int64_t limit);
  bool place(Parcel& parcel, int64_t limit);
  int32_t emptiest(const Parcel& parcel, int32_t first, int32_t last, int64_t limit) const;

  const Topology& topology_;
  int slots_;
  std::span<const int32_t> owners_;
  std::vector<int> free_;         // [ranks] slots
  std::vector<int64_t> load_;     // [ranks]
  std::vector<int64_t> at_home_;  // [experts] tokens in the node of the owner
  std::vector<int32_t> order_;
  std::vector<std::vector<int32_t>> placed_;  // [experts] ranks, besides the owner
  std::vector<Parcel> parcels_;               // a heap
};

}  // namespace enodia
