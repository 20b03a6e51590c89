#include "parallel/placement/replica_construction.h"

#include <algorithm>
#include <numeric>

namespace enodia {
namespace {

bool is_on(int32_t rank, int32_t owner, const std::vector<int32_t>& replicas) {
  return owner == rank || std::find(replicas.begin(), replicas.end(), rank) != replicas.end();
}

}  // namespace

void ReplicaConstruction::run(std::span<const int32_t> owners,
                              const NodeCounts& counts,
                              int64_t threshold,
                              int64_t limit,
                              Replicas& replicas) {
  owners_ = owners;
  free_.assign(topology_.num_ranks(), slots_);
  load_.assign(topology_.num_ranks(), 0);
  placed_.resize(owners.size());
  for (std::vector<int32_t>& ranks : placed_) {
    ranks.clear();
  }
  parcels_.clear();
  assign_to_nodes(counts, threshold);
  export_excess(limit);
  std::make_heap(parcels_.begin(), parcels_.end());
  while (!parcels_.empty()) {
    std::pop_heap(parcels_.begin(), parcels_.end());
    Parcel& parcel = parcels_.back();
    if (place(parcel, limit) && parcel.tokens > 0) {
      std::push_heap(parcels_.begin(), parcels_.end());
    } else {
      parcels_.pop_back();
    }
  }
  replicas.clear();
  for (std::vector<int32_t>& ranks : placed_) {
    std::sort(ranks.begin(), ranks.end());
    replicas.add_row(ranks);
  }
}

/// Tokens stay in their node if the expert comes there, else they go to the owner's.
void ReplicaConstruction::assign_to_nodes(const NodeCounts& counts, int64_t threshold) {
  at_home_.resize(owners_.size());
  for (int32_t expert = 0; expert < std::ssize(owners_); ++expert) {
    at_home_[expert] = counts.of_expert(expert);
  }
  for (int node = 0; node < topology_.num_nodes(); ++node) {
    const std::span<const int32_t> tokens = counts.of_node(node);
    for (int32_t expert = 0; expert < std::ssize(owners_); ++expert) {
      if (tokens[expert] >= threshold && topology_.node_of(owners_[expert]) != node) {
        at_home_[expert] -= tokens[expert];
        parcels_.push_back({tokens[expert], expert, node, false});
      }
    }
  }
  for (size_t expert = 0; expert < owners_.size(); ++expert) {
    load_[owners_[expert]] += at_home_[expert];
  }
}

/// Of the experts of an overloaded rank those with the most tokens give.
void ReplicaConstruction::export_excess(int64_t limit) {
  order_.clear();
  for (int32_t expert = 0; expert < std::ssize(owners_); ++expert) {
    if (load_[owners_[expert]] > limit) {
      order_.push_back(expert);
    }
  }
  std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    return std::tie(at_home_[b], a) < std::tie(at_home_[a], b);
  });
  for (const int32_t expert : order_) {
    const int32_t owner = owners_[expert];
    const int64_t tokens = std::min(load_[owner] - limit, at_home_[expert]);
    if (tokens > 0) {
      load_[owner] -= tokens;
      parcels_.push_back({tokens, expert, topology_.node_of(owner), true});
    }
  }
}

/// Takes what fits from the parcel; false when there is no rank for it.
bool ReplicaConstruction::place(Parcel& parcel, int64_t limit) {
  int32_t rank = emptiest(
      parcel, topology_.first_rank(parcel.node), topology_.first_rank(parcel.node + 1), limit);
  if (rank < 0 && parcel.is_excess) {
    rank = emptiest(parcel, 0, topology_.num_ranks(), limit);
  }
  const int32_t owner = owners_[parcel.expert];
  if (rank < 0) {
    load_[owner] += parcel.tokens;
    return false;
  }
  if (!is_on(rank, owner, placed_[parcel.expert])) {
    placed_[parcel.expert].push_back(rank);
    --free_[rank];
  }
  const int64_t tokens = std::min(parcel.tokens, limit - load_[rank]);
  load_[rank] += tokens;
  parcel.tokens -= tokens;
  return true;
}

int32_t ReplicaConstruction::emptiest(const Parcel& parcel,
                                      int32_t first,
                                      int32_t last,
                                      int64_t limit) const {
  int32_t best = -1;
  int64_t least = limit;
  for (int32_t rank = first; rank < last; ++rank) {
    if (load_[rank] < least &&
        (free_[rank] > 0 || is_on(rank, owners_[parcel.expert], placed_[parcel.expert]))) {
      best = rank;
      least = load_[rank];
    }
  }
  return best;
}

}  // namespace enodia
