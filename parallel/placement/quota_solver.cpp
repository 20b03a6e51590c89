#include "parallel/placement/quota_solver.h"

#include <algorithm>
#include <numeric>

#include "common/vector_clones.h"

namespace enodia {
namespace {

ENODIA_CLONES int64_t most_of(const int64_t* values, size_t count) {
  int64_t most = std::numeric_limits<int64_t>::min();
  for (size_t i = 0; i < count; ++i) {
    most = std::max(most, values[i]);
  }
  return most;
}

/// Ascending: insertion is quickest for as many as there mostly are.
template <typename T>
void sort_few(std::vector<T>& values) {
  constexpr int64_t kFew = 12;
  if (std::ssize(values) > kFew) {
    std::sort(values.begin(), values.end());
    return;
  }
  for (size_t i = 1; i < values.size(); ++i) {
    const T value = values[i];
    size_t at = i;
    for (; at > 0 && value < values[at - 1]; --at) {
      values[at] = values[at - 1];
    }
    values[at] = value;
  }
}

}  // namespace

QuotaSolver::QuotaSolver(const Topology& topology, int num_experts, int slots)
    : topology_(topology),
      num_experts_(num_experts),
      slots_(slots) {
  const size_t hosts = num_experts + static_cast<size_t>(topology.num_ranks()) * slots;
  const size_t cells = static_cast<size_t>(topology.num_nodes()) * num_experts;
  rank_of_.resize(hosts);
  node_of_.resize(hosts);
  expert_of_.resize(hosts);
  next_.resize(hosts);
  quota_.resize(hosts);
  first_.resize(num_experts);
  first_in_.resize(cells);
  owner_in_.resize(cells);
  held_.resize(cells);
  left_.resize(cells);
  load_.resize(topology.num_ranks());
  crossing_.resize(topology.num_nodes());
  near_.resize(2 * static_cast<size_t>(topology.num_ranks()));
  away_.resize(2 * static_cast<size_t>(topology.num_nodes()));
  used_.resize(topology.num_ranks());
  reached_from_.resize(topology.num_ranks());
  owned_.resize(num_experts);
  shared_owned_.resize(num_experts);
  num_shared_.resize(topology.num_ranks());
  first_owned_.resize(topology.num_ranks() + 1);
  for (int32_t rank = 0; rank < topology.num_ranks(); ++rank) {
    std::fill_n(rank_of_.begin() + first_slot(rank), slots, rank);
    std::fill_n(node_of_.begin() + first_slot(rank), slots, topology.node_of(rank));
  }
}

void QuotaSolver::start(std::span<const int32_t> owners,
                        const NodeCounts& counts,
                        const Replicas& replicas,
                        int64_t goal) {
  counts_ = &counts;
  goal_ = goal;
  is_recording_ = false;
  if (!std::equal(owners.begin(), owners.end(), owners_.begin(), owners_.end())) {
    own(owners);
  }
  place_owners();
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    if (!replicas[expert].empty()) {
      place_all(expert, replicas[expert]);
    }
  }
  divide_all();
  std::get<0>(changes_).clear();
  std::get<1>(changes_).clear();
}

void QuotaSolver::own(std::span<const int32_t> owners) {
  owners_.assign(owners.begin(), owners.end());
  std::fill(first_owned_.begin(), first_owned_.end(), 0);
  for (const int32_t owner : owners_) {
    ++first_owned_[owner + 1];
  }
  std::partial_sum(first_owned_.begin(), first_owned_.end(), first_owned_.begin());
  std::fill(owner_in_.begin(), owner_in_.end(), -1);
  order_.assign(first_owned_.begin(), first_owned_.end() - 1);
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    owned_[order_[owners_[expert]]++] = expert;
    expert_of_[expert] = expert;
    rank_of_[expert] = owners_[expert];
    node_of_[expert] = topology_.node_of(owners_[expert]);
    owner_in_[cell(node_of_[expert], expert)] = expert;
  }
}

void QuotaSolver::place_owners() {
  std::iota(first_.begin(), first_.end(), 0);
  first_in_ = owner_in_;
  std::fill(held_.begin(), held_.end(), 0);
  std::fill(expert_of_.begin() + num_experts_, expert_of_.end(), -1);
  std::fill(next_.begin(), next_.end(), -1);
  std::fill(quota_.begin(), quota_.end(), 0);
  std::fill(used_.begin(), used_.end(), 0);
  num_replicas_ = num_away_ = 0;
  for (int node = 0; node < topology_.num_nodes(); ++node) {
    crossing_[node] = counts_->of_all(node);
  }
  std::fill(near_.begin(), near_.end(), 0);
  std::fill(away_.begin(), away_.end(), 0);
  inter_node_ = 0;
  shared_.clear();
  std::fill(num_shared_.begin(), num_shared_.end(), 0);
}

int32_t QuotaSolver::host_on(int expert, int32_t rank) const {
  int32_t host = first_in(topology_.node_of(rank), expert);
  while (host >= 0 && rank_of_[host] < rank) {
    host = next_[host];
  }
  return host >= 0 && rank_of_[host] == rank ? host : -1;
}

Replica QuotaSolver::replica_on(int32_t rank, int64_t index) const {
  for (int32_t host = first_slot(rank); host < first_slot(rank + 1); ++host) {
    if (expert_of_[host] >= 0 && index-- == 0) {
      return {expert_of_[host], rank};
    }
  }
  return {};
}

int64_t QuotaSolver::quota(int expert, int32_t rank) const {
  const int32_t host = host_on(expert, rank);
  return host < 0 ? 0 : quota_[host];
}

void QuotaSolver::copy_replicas(Replicas& replicas) const {
  replicas.clear();
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    replicas.add_row();
    for (int32_t host = first_[expert]; host >= 0; host = next_[host]) {
      if (host >= num_experts_) {
        replicas.add(rank_of_[host]);
      }
    }
  }
}

int32_t QuotaSolver::slowest() const {
  const int64_t most = most_of(load_.data(), load_.size());
  return static_cast<int32_t>(std::find(load_.begin(), load_.end(), most) - load_.begin());
}

/// What place() would make of each, in one walk over ranks that ascend: a thirtieth of stage B.
void QuotaSolver::place_all(int32_t expert, std::span<const int32_t> ranks) {
  const int32_t owner = owners_[expert];
  const int home = node_of(expert);
  int32_t last = -1;
  const auto append = [&](int32_t host) {
    if (last < 0 || node_of(last) != node_of(host)) {
      first_in_[cell(node_of(host), expert)] = host;
      if (node_of(host) != home) {
        travel_away(expert, node_of(host), 1);
      }
    }
    (last < 0 ? first_[expert] : next_[last]) = host;
    last = host;
  };
  bool has_owner = false;
  for (const int32_t rank : ranks) {
    if (!has_owner && owner < rank) {
      append(expert);
      has_owner = true;
    }
    const int32_t host = first_slot(rank) + used_[rank]++;
    expert_of_[host] = expert;
    append(host);
    travel(host, 1);
  }
  if (!has_owner) {
    append(expert);
  }
  num_replicas_ += std::ssize(ranks);
  shared_.push_back(expert);
  shared_owned_[first_owned_[owner] + num_shared_[owner]++] = expert;
}

int32_t QuotaSolver::place(Replica replica) {
  int32_t host = first_slot(replica.rank);
  while (expert_of_[host] >= 0) {
    ++host;
  }
  set(expert_of_[host], replica.expert);
  set(used_[replica.rank], used_[replica.rank] + 1);
  set(num_replicas_, num_replicas_ + 1);
  link(host);
  return host;
}

void QuotaSolver::link(int32_t host) {
  travel(host, 1);
  const int32_t expert = expert_of_[host];
  if (!is_shared(expert)) {
    share(expert);
  }
  int32_t before = -1;
  int32_t after = first_[expert];
  while (after >= 0 && rank_of_[after] < rank_of_[host]) {
    before = after;
    after = next_[after];
  }
  set(next_[host], after);
  set(before < 0 ? first_[expert] : next_[before], host);
  if (before < 0 || node_of(before) != node_of(host)) {
    if (first_in(node_of(host), expert) < 0) {
      travel_away(expert, node_of(host), 1);
    }
    set(first_in_[cell(node_of(host), expert)], host);
  }
}

/// So many times more to the rank of a host.
void QuotaSolver::travel(int32_t host, int64_t more) {
  const int32_t owner = owners_[expert_of_[host]];
  int64_t& comes = near_[2 * rank_of_[host]];
  set(comes, comes + more);
  if (topology_.node_of(owner) == node_of(host)) {
    int64_t& goes = near_[2 * owner + 1];
    set(goes, goes + more);
  }
}

/// So many times more from the owner's node to another.
void QuotaSolver::travel_away(int32_t expert, int node, int64_t more) {
  int64_t& comes = away_[2 * node];
  int64_t& goes = away_[2 * topology_.node_of(owners_[expert]) + 1];
  set(comes, comes + more);
  set(goes, goes + more);
  set(num_away_, num_away_ + more);
}

int64_t QuotaSolver::most_crossing() const {
  return *std::max_element(crossing_.begin(), crossing_.end());
}

int64_t QuotaSolver::most_near() const {
  return *std::max_element(near_.begin(), near_.end());
}

int64_t QuotaSolver::most_away() const {
  return *std::max_element(away_.begin(), away_.end());
}

void QuotaSolver::unlink(int32_t host) {
  travel(host, -1);
  const int32_t expert = expert_of_[host];
  int32_t before = -1;
  for (int32_t at = first_[expert]; at != host; at = next_[at]) {
    before = at;
  }
  set(before < 0 ? first_[expert] : next_[before], next_[host]);
  if (first_in(node_of(host), expert) == host) {
    const int32_t next = next_in_node(host);
    set(first_in_[cell(node_of(host), expert)], next);
    if (next < 0) {
      travel_away(expert, node_of(host), -1);
    }
  }
  if (!is_shared(expert)) {
    stop_sharing(expert);
  }
}

void QuotaSolver::share(int32_t expert) {
  const int32_t owner = owners_[expert];
  int32_t at = first_owned_[owner] + num_shared_[owner];
  for (; at > first_owned_[owner] && shared_owned_[at - 1] > expert; --at) {
    set(shared_owned_[at], shared_owned_[at - 1]);
  }
  set(shared_owned_[at], expert);
  set(num_shared_[owner], num_shared_[owner] + 1);
}

void QuotaSolver::stop_sharing(int32_t expert) {
  const int32_t owner = owners_[expert];
  const int32_t last = first_owned_[owner] + num_shared_[owner] - 1;
  int32_t at = first_owned_[owner];
  while (shared_owned_[at] != expert) {
    ++at;
  }
  for (; at < last; ++at) {
    set(shared_owned_[at], shared_owned_[at + 1]);
  }
  set(num_shared_[owner], num_shared_[owner] - 1);
}

/// Each node's tokens over its hosts; then those of nodes that lack the expert.
void QuotaSolver::divide_all() {
  sent_.clear();
  for (int32_t rank = 0; rank < topology_.num_ranks(); ++rank) {
    const int node = topology_.node_of(rank);
    int64_t tokens = 0;
    int64_t near = 0;
    for (int32_t i = first_owned_[rank]; i < first_owned_[rank + 1]; ++i) {
      const int32_t expert = owned_[i];
      const int64_t alone = is_shared(expert) ? 0 : 1;  // no branch: nobody could foretell it
      quota_[expert] = held_[cell(node, expert)] = alone * counts_->of_expert(expert);
      tokens += quota_[expert];
      near += alone * counts_->of(node, expert);
    }
    load_[rank] = tokens;
    inter_node_ += tokens - near;
    crossing_[node] += tokens - 2 * near;
  }
  for (const int32_t expert : shared_) {
    divide_in_nodes(expert);
  }
  // As send(), but each of these tokens crosses: hold() would compute that anew.
  for (size_t i = 0; i < shared_.size(); ++i) {
    if (sent_[i] == 0) {
      continue;
    }
    fill_with_hosts(shared_[i]);
    pour(sent_[i], [&](int32_t host, int64_t more) {
      held_[cell(node_of(host), shared_[i])] += more;
      crossing_[node_of(host)] += more;
      quota_[host] += more;
      load_[rank_of_[host]] += more;
    });
  }
}

/// What is left is sent.
void QuotaSolver::divide_in_nodes(int32_t expert) {
  int64_t left = counts_->of_expert(expert);
  int node = -1;
  for (int32_t host = first_[expert]; host >= 0; host = next_[host]) {
    if (node_of(host) != node) {
      node = node_of(host);
      const int64_t tokens = counts_->of(node, expert);
      held_[cell(node, expert)] = tokens;
      crossing_[node] -= tokens;
      left -= tokens;
      level_cell(node, expert);
    }
  }
  inter_node_ += left;
  sent_.push_back(left);
}

void QuotaSolver::fill_with_hosts(int expert) {
  filling_.clear();
  for (int32_t host = first_[expert]; host >= 0; host = next_[host]) {
    filling_.emplace_back(load_[rank_of_[host]], host);
  }
}

void QuotaSolver::send(int expert, int64_t tokens) {
  fill_with_hosts(expert);
  pour(tokens, [&](int32_t host, int64_t more) {
    if (more > 0) {
      hold(node_of(host), expert, more);
      give(host, more);
    }
  });
}

int64_t QuotaSolver::call_back(int node, int expert) {
  int64_t called = 0;
  for (int from = 0; from < topology_.num_nodes(); ++from) {
    const int64_t missing = counts_->of(node, expert) - called;
    const int64_t foreign = held_[cell(from, expert)] - counts_->of(from, expert);
    const int64_t tokens = std::min(missing, foreign);
    if (from != node && tokens > 0) {
      hold(from, expert, -tokens);
      level_cell(from, expert);
      called += tokens;
    }
  }
  return called;
}

void QuotaSolver::add(Replica replica) {
  const int node = topology_.node_of(replica.rank);
  const bool is_new_in_node = !is_in_node(replica.expert, node);
  const int32_t host = place(replica);
  if (is_new_in_node) {
    const int64_t tokens = call_back(node, replica.expert);
    hold(node, replica.expert, tokens);
    give(host, tokens);
  }
}

void QuotaSolver::remove(Replica replica) {
  const int node = topology_.node_of(replica.rank);
  const int32_t host = host_on(replica.expert, replica.rank);
  const int64_t tokens = quota_[host];
  unlink(host);
  give(host, -tokens);
  set(expert_of_[host], -1);
  set(used_[replica.rank], used_[replica.rank] - 1);
  set(num_replicas_, num_replicas_ - 1);
  if (is_in_node(replica.expert, node)) {
    level_cell(node, replica.expert);
  } else {
    hold(node, replica.expert, -tokens);
    send(replica.expert, tokens);
  }
}

template <typename Use>
void QuotaSolver::pour(int64_t tokens, Use use) {
  sort_few(filling_);
  int64_t under = filling_[0].first;  // loads of those that get tokens, and how many they are
  int64_t filled = 1;
  while (filled < std::ssize(filling_) && filled * filling_[filled].first - under < tokens) {
    under += filling_[filled++].first;
  }
  const int64_t surface = (tokens + under) / filled;
  const int64_t rest = tokens + under - surface * filled;
  for (int64_t i = 0; i < std::ssize(filling_); ++i) {
    const auto [below, host] = filling_[i];
    use(host, i < filled ? surface - below + (i < rest ? 1 : 0) : 0);
  }
}

void QuotaSolver::level_cell(int node, int expert) {
  const int32_t first = first_in(node, expert);
  if (next_in_node(first) < 0) {
    give(first, held_[cell(node, expert)] - quota_[first]);
    return;
  }
  filling_.clear();
  for (int32_t host = first; host >= 0; host = next_in_node(host)) {
    filling_.emplace_back(load_[rank_of_[host]] - quota_[host], host);
  }
  pour(held_[cell(node, expert)], [&](int32_t host, int64_t quota) {
    if (quota != quota_[host]) {
      give(host, quota - quota_[host]);
    }
  });
}

void QuotaSolver::take_back(const Mark& mark) {
  const auto undo = [](auto& changes, size_t left) {
    while (changes.size() > left) {
      *changes.back().where = changes.back().before;
      changes.pop_back();
    }
  };
  undo(std::get<0>(changes_), mark.first);
  undo(std::get<1>(changes_), mark.second);
}

}  // namespace enodia
