#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "parallel/placement/layer_plan.h"
#include "parallel/placement/node_counts.h"

namespace enodia {

/// A replica: an expert on a rank.
struct Replica {
  int32_t expert = -1;  ///< -1: none
  int32_t rank = -1;
};

/// Divides the tokens of each expert over the ranks that hold it, as well as replicas that come and
/// go one by one allow: tokens stay inside their node where the expert is there, and are levelled
/// over its ranks there (water-filling, expert after expert, coordinate descent on the sum of
/// squares); of other nodes they go to the node whose rank is emptiest. relieve() then moves tokens
/// of ranks above the goal to other nodes. What follows a mark() can be taken back, so that trying
/// a replica costs what it changes. Integers; ties go to the smaller id, but equal ranks are
/// relieved from the larger id down. No allocation once it has grown. Local.
class QuotaSolver {
 public:
  /// At most `slots` replicas on a rank. Borrows the topology.
  QuotaSolver(const Topology& topology, int num_experts, int slots);

  /// Borrows counts until the next start. `goal`: tokens of a rank that are few enough.
  void start(std::span<const int32_t> owners,
             const NodeCounts& counts,
             const Replicas& replicas,
             int64_t goal);
  /// From now on, instead of start()'s.
  void set_goal(int64_t goal) { goal_ = goal; }
  /// The rank has a free slot, and does not hold the expert.
  void add(Replica replica);
  void remove(Replica replica);
  /// Tokens of the expert that another rank has above the goal, as far as the replica's has room.
  void take_over(Replica replica, int32_t from);
  /// False when the slowest rank cannot come down to `most` tokens: it has given up then. `reach`:
  /// ranks that it looks for room on, for each rank above the goal.
  bool relieve(int64_t most = std::numeric_limits<int64_t>::max(),
               int reach = std::numeric_limits<int>::max());
  /// The same of ranks above a limit, which is not below the goal. Returns what the slowest rank is
  /// left with, or the limit.
  int64_t relieve_above(int64_t limit, int64_t most, int reach);

  /// Where take_back() returns to. What changes before the first of them is not recorded.
  using Mark = std::pair<size_t, size_t>;
  Mark mark() {
    is_recording_ = true;
    return {std::get<0>(changes_).size(), std::get<1>(changes_).size()};
  }
  void take_back(const Mark& mark);

  bool is_in_node(int expert, int node) const { return first_in(node, expert) >= 0; }
  /// Whether others than its owner hold it.
  bool is_shared(int expert) const { return first_[expert] != expert || next_[expert] >= 0; }
  bool is_on(int expert, int32_t rank) const { return host_on(expert, rank) >= 0; }
  bool has_free_slot(int32_t rank) const { return used_[rank] < slots_; }
  int num_replicas_on(int32_t rank) const { return used_[rank]; }
  /// The replica of a rank that is the index-th in its slots; none where there are fewer.
  Replica replica_on(int32_t rank, int64_t index) const;
  /// The replicas, ascending, in the memory of another set.
  void copy_replicas(Replicas& replicas) const;
  int slots() const { return slots_; }
  int num_ranks() const { return topology_.num_ranks(); }
  int num_replicas() const { return static_cast<int>(num_replicas_); }
  int num_nodes() const { return topology_.num_nodes(); }
  /// Experts that come to another node, once for each.
  int64_t num_away() const { return num_away_; }
  /// Of those that a node's link brings and those that it takes to others, the most.
  int64_t most_away() const;
  /// Of the replicas that come to a rank and those that its experts have in its node, the most.
  int64_t most_near() const;
  /// Tokens of an expert that a rank computes.
  int64_t quota(int expert, int32_t rank) const;
  int64_t load(int32_t rank) const { return load_[rank]; }
  int64_t goal() const { return goal_; }
  const NodeCounts& counts() const { return *counts_; }
  /// The rank with the most tokens.
  int32_t slowest() const;
  /// Tokens that cross nodes.
  int64_t inter_node() const { return inter_node_; }
  /// Of those that leave a node or come there, the most.
  int64_t most_crossing() const;
  /// Each replica of a rank with its tokens, in the order of its slots: use(replica, tokens).
  template <typename Use>
  void each_replica(int32_t rank, Use use) const {
    for (int32_t host = first_slot(rank); host < first_slot(rank + 1); ++host) {
      if (expert_of_[host] >= 0) {
        use(Replica{expert_of_[host], rank}, quota_[host]);
      }
    }
  }
  /// Each rank that holds an expert with its tokens, ascending: use(rank, tokens).
  template <typename Use>
  void each_host(int expert, Use use) const {
    for (int32_t host = first_[expert]; host >= 0; host = next_[host]) {
      use(rank_of_[host], quota_[host]);
    }
  }
  /// The experts of a rank, owned ones first: use(expert, tokens).
  template <typename Use>
  void each_expert(int32_t rank, Use use) const {
    for (int32_t i = first_owned_[rank]; i < first_owned_[rank + 1]; ++i) {
      use(owned_[i], quota_[owned_[i]]);
    }
    each_replica(rank, [&](Replica replica, int64_t tokens) { use(replica.expert, tokens); });
  }

 private:
  // A host is an expert on a rank: its owner is host number `expert`, replicas are hosts
  // experts + rank * slots + slot.
  template <typename T>
  struct Change {
    T* where;
    T before;
  };
  template <typename T>
  void set(T& where, T value) {
    if (is_recording_) {
      std::get<std::vector<Change<T>>>(changes_).push_back({&where, where});
    }
    where = value;
  }

  int32_t first_slot(int32_t rank) const { return num_experts_ + rank * slots_; }
  size_t cell(int node, int expert) const {
    return static_cast<size_t>(expert) * topology_.num_nodes() + node;
  }
  int32_t first_in(int node, int expert) const { return first_in_[cell(node, expert)]; }
  int node_of(int32_t host) const { return node_of_[host]; }
  int32_t next_in_node(int32_t host) const {
    const int32_t next = next_[host];
    return next >= 0 && node_of(next) == node_of(host) ? next : -1;
  }
  /// Those of a rank whose experts are shared: owned ones, then replicas.
  template <typename Use>
  void each_shared_host_on(int32_t rank, Use use) const {
    const int32_t first = first_owned_[rank];
    for (int32_t i = first; i < first + num_shared_[rank]; ++i) {
      use(shared_owned_[i]);
    }
    for (int32_t host = first_slot(rank); host < first_slot(rank + 1); ++host) {
      if (expert_of_[host] >= 0) {
        use(host);
      }
    }
  }
  int32_t host_on(int expert, int32_t rank) const;
  void own(std::span<const int32_t> owners);
  void place_owners();
  void place_all(int32_t expert, std::span<const int32_t> ranks);
  /// Returns its host, without tokens.
  int32_t place(Replica replica);
  void link(int32_t host);
  void unlink(int32_t host);
  void share(int32_t expert);
  void stop_sharing(int32_t expert);
  void travel(int32_t host, int64_t more);
  void travel_away(int32_t expert, int node, int64_t more);
  void divide_all();
  void divide_in_nodes(int32_t expert);
  void give(int32_t host, int64_t tokens) {
    set(quota_[host], quota_[host] + tokens);
    set(load_[rank_of_[host]], load_[rank_of_[host]] + tokens);
  }
  /// More tokens of an expert for the hosts of a node; inter_node_ follows.
  void hold(int node, int expert, int64_t more) {
    const int64_t tokens = counts_->of(node, expert);
    int64_t& held = held_[cell(node, expert)];
    set(inter_node_,
        inter_node_ + std::max<int64_t>(0, tokens - held - more) -
            std::max<int64_t>(0, tokens - held));
    set(crossing_[node],
        crossing_[node] + std::abs(held + more - tokens) - std::abs(held - tokens));
    set(held, held + more);
  }
  /// More tokens of an expert, from other nodes, to the emptiest of its hosts.
  void send(int expert, int64_t tokens);
  /// What a node sends elsewhere for an expert, from hosts that compute for other nodes; returns
  /// how many tokens.
  int64_t call_back(int node, int expert);
  void fill_with_hosts(int expert);
  /// Tokens over the hosts of `filling_`, so that those with the fewest are level: use(host,
  /// tokens) for each.
  template <typename Use>
  void pour(int64_t tokens, Use use);
  void level_cell(int node, int expert);
  /// What a node computes of an expert for others; below zero: what others compute for it.
  int64_t surplus(int node, int expert) const {
    return held_[cell(node, expert)] - counts_->of(node, expert);
  }
  int64_t free_of_charge(int32_t from, int32_t to) const;
  /// A rank below the limit that tokens of a rank can go to, from host to host; -1 for none.
  int32_t find_room(int32_t rank, int64_t limit, int reach);
  int32_t reach_from(int32_t host, int64_t limit);
  /// As many as there is room for, the way that find_room() went.
  void push(int32_t rank, int32_t room, int64_t limit);
  void move(int32_t from, int32_t to, int64_t tokens);
  void relieve_directly(int32_t rank, int64_t limit);
  void relieve_rank(int32_t rank, int64_t limit, int64_t most, int reach);

  /// How a search came to a rank: tokens go from a host to one there.
  struct Reached {
    int64_t search = 0;
    int32_t from = -1, to = -1;
    bool is_free = false;  ///< no more tokens cross nodes than on the ranks reached before
  };

  const Topology& topology_;
  int num_experts_;
  int slots_;
  std::vector<int32_t> owners_;
  const NodeCounts* counts_ = nullptr;
  int64_t goal_ = 0;
  bool is_recording_ = false;                 // changes, for take_back()
  std::vector<int32_t> first_owned_, owned_;  // [ranks + 1]; experts by owner
  std::vector<int32_t> rank_of_, node_of_;    // [hosts]
  std::vector<int32_t> expert_of_;            // [hosts]; -1 = a free slot
  std::vector<int32_t> first_;                // [experts] hosts of an expert, ascending by rank
  std::vector<int32_t> next_;                 // [hosts]
  std::vector<int32_t> first_in_;             // [experts, nodes]
  std::vector<int32_t> owner_in_;             // [experts, nodes] the same without replicas
  std::vector<int64_t> held_;                 // [experts, nodes] tokens of the hosts in a node
  std::vector<int64_t> quota_;                // [hosts]
  std::vector<int64_t> load_;                 // [ranks]
  std::vector<int32_t> used_;                 // [ranks] slots
  int64_t num_replicas_ = 0, num_away_ = 0, inter_node_ = 0;
  std::vector<int64_t> crossing_;  // [nodes] tokens that leave or come
  std::vector<int64_t> near_;      // [ranks, 2] replicas that come, that go in the node
  std::vector<int64_t> away_;      // [nodes, 2] experts that come, that go
  std::tuple<std::vector<Change<int32_t>>, std::vector<Change<int64_t>>> changes_;
  std::vector<std::pair<int64_t, int32_t>> filling_;  // tokens beside the quota, host
  std::vector<int32_t> order_;
  // Owned experts that are shared: where owned_ has those of the rank, ascending.
  std::vector<int32_t> shared_owned_;
  std::vector<int32_t> num_shared_;                // [ranks]
  std::vector<int32_t> shared_;                    // experts that were shared at the start
  std::vector<int64_t> sent_;                      // their tokens of nodes that lack them
  std::vector<std::pair<int64_t, int32_t>> over_;  // load above the goal, rank: a heap
  std::vector<int64_t> least_;  // [ranks] what relieve() can bring a rank's tokens down to
  // Of find_room().
  int64_t search_ = 0;
  std::vector<Reached> reached_from_;     // [ranks]
  std::vector<int64_t> left_;             // [experts, nodes] the last search that went on there
  std::vector<int32_t> reached_, later_;  // ranks
};

}  // namespace enodia
