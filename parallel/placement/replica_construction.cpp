#include "parallel/placement/replica_construction.h"

#include <algorithm>
#include <queue>
#include <tuple>
#include <vector>

namespace enodia {
namespace {

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

/// Replicas by greed: parcels, the largest first, go to the emptiest rank of their node.
class Construction {
 public:
  Construction(const Topology& topology,
               std::span<const int32_t> owners,
               int slots,
               const NodeCounts& counts)
      : topology_(topology),
        owners_(owners),
        counts_(counts),
        free_(topology.num_ranks(), slots),
        load_(topology.num_ranks(), 0),
        replicas_(owners.size()) {}

  /// An expert comes to a node that has `threshold` tokens for it; ranks are filled up to `limit`.
  Replicas run(int64_t threshold, int64_t limit) {
    assign_to_nodes(threshold);
    export_excess(limit);
    while (!parcels_.empty()) {
      Parcel parcel = parcels_.top();
      parcels_.pop();
      if (place(parcel, limit) && parcel.tokens > 0) {
        parcels_.push(parcel);
      }
    }
    for (std::vector<int32_t>& ranks : replicas_) {
      std::sort(ranks.begin(), ranks.end());
    }
    return std::move(replicas_);
  }

 private:
  /// Tokens stay in their node if the expert comes there, else they go to the owner's.
  void assign_to_nodes(int64_t threshold) {
    demand_.assign(owners_.size() * topology_.num_nodes(), 0);
    for (size_t expert = 0; expert < owners_.size(); ++expert) {
      const int home = topology_.node_of(owners_[expert]);
      for (int node = 0; node < topology_.num_nodes(); ++node) {
        const int64_t tokens = counts_.of(node, static_cast<int>(expert));
        const bool comes = node != home && tokens >= threshold;
        demand(expert, comes ? node : home) += tokens;
        if (comes) {
          parcels_.push({tokens, static_cast<int>(expert), node, false});
        }
      }
      load_[owners_[expert]] += demand(expert, home);
    }
  }

  /// Of the experts of an overloaded rank those with the most tokens give.
  void export_excess(int64_t limit) {
    std::vector<int> order(owners_.size());
    for (size_t i = 0; i < order.size(); ++i) {
      order[i] = static_cast<int>(i);
    }
    const auto at_home = [&](int expert) {
      return demand(expert, topology_.node_of(owners_[expert]));
    };
    std::stable_sort(
        order.begin(), order.end(), [&](int a, int b) { return at_home(a) > at_home(b); });
    for (const int expert : order) {
      const int32_t owner = owners_[expert];
      const int64_t tokens = std::min(load_[owner] - limit, at_home(expert));
      if (tokens > 0) {
        load_[owner] -= tokens;
        parcels_.push({tokens, expert, topology_.node_of(owner), true});
      }
    }
  }

  /// Takes what fits from the parcel; false when there is no rank for it.
  bool place(Parcel& parcel, int64_t limit) {
    int32_t rank = emptiest(
        parcel, topology_.first_rank(parcel.node), topology_.first_rank(parcel.node + 1), limit);
    if (rank < 0 && parcel.is_excess) {
      rank = emptiest(parcel, 0, topology_.num_ranks(), limit);
    }
    if (rank < 0) {
      load_[owners_[parcel.expert]] += parcel.tokens;
      return false;
    }
    if (!is_on(parcel.expert, rank)) {
      replicas_[parcel.expert].push_back(rank);
      --free_[rank];
    }
    const int64_t tokens = std::min(parcel.tokens, limit - load_[rank]);
    load_[rank] += tokens;
    parcel.tokens -= tokens;
    return true;
  }

  int32_t emptiest(const Parcel& parcel, int32_t first, int32_t last, int64_t limit) const {
    int32_t best = -1;
    for (int32_t rank = first; rank < last; ++rank) {
      const bool can = load_[rank] < limit && (free_[rank] > 0 || is_on(parcel.expert, rank));
      if (can && (best < 0 || load_[rank] < load_[best])) {
        best = rank;
      }
    }
    return best;
  }

  bool is_on(int expert, int32_t rank) const {
    const std::vector<int32_t>& ranks = replicas_[expert];
    return owners_[expert] == rank || std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
  }

  int64_t& demand(size_t expert, int node) {
    return demand_[expert * topology_.num_nodes() + node];
  }

  const Topology& topology_;
  std::span<const int32_t> owners_;
  const NodeCounts& counts_;
  std::vector<int> free_;
  std::vector<int64_t> load_;
  std::vector<int64_t> demand_;  // [experts, nodes]
  Replicas replicas_;
  std::priority_queue<Parcel> parcels_;
};

}  // namespace

Replicas construct_replicas(const Topology& topology,
                            std::span<const int32_t> owners,
                            int slots,
                            const NodeCounts& counts,
                            int64_t threshold,
                            int64_t limit) {
  return Construction(topology, owners, slots, counts).run(threshold, limit);
}

}  // namespace enodia
