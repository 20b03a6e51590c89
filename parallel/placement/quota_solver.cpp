#include "parallel/placement/quota_solver.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace enodia {
namespace {

/// Adds rows of counts, [rows, size], to a sum. Four at a time: the sum is what costs, not what is
/// read.
void add_rows(const int32_t* rows, int num_rows, int size, int32_t* sum) {
  int row = 0;
  for (; row + 4 <= num_rows; row += 4) {
    const int32_t* const a = rows + static_cast<size_t>(row) * size;
    const int32_t* const b = a + size;
    const int32_t* const c = b + size;
    const int32_t* const d = c + size;
    for (int i = 0; i < size; ++i) {
      sum[i] += (a[i] + b[i]) + (c[i] + d[i]);
    }
  }
  for (; row < num_rows; ++row) {
    const int32_t* const a = rows + static_cast<size_t>(row) * size;
    for (int i = 0; i < size; ++i) {
      sum[i] += a[i];
    }
  }
}

}  // namespace

NodeCounts::NodeCounts(int num_nodes, int num_experts)
    : num_experts_(num_experts),
      tokens_(static_cast<size_t>(num_nodes) * num_experts, 0),
      of_expert_(num_experts, 0) {}

NodeCounts::NodeCounts(const LayerCounts& counts, const Topology& topology)
    : NodeCounts(topology.num_nodes(), counts.num_experts) {
  assign(counts, topology);
}

void NodeCounts::assign(const LayerCounts& counts, const Topology& topology) {
  std::fill(tokens_.begin(), tokens_.end(), 0);
  for (int node = 0; node < topology.num_nodes(); ++node) {
    const int first = topology.first_rank(node);
    add_rows(counts.tokens.data() + static_cast<size_t>(first) * num_experts_,
             topology.first_rank(node + 1) - first,
             num_experts_,
             tokens_.data() + static_cast<size_t>(node) * num_experts_);
  }
  sum_up();
}

void NodeCounts::sum_up() {
  std::fill(of_expert_.begin(), of_expert_.end(), 0);
  for (int node = 0; node < num_nodes(); ++node) {
    const int32_t* const row = tokens_.data() + static_cast<size_t>(node) * num_experts_;
    for (int expert = 0; expert < num_experts_; ++expert) {
      of_expert_[expert] += row[expert];
    }
  }
  total_ = std::accumulate(of_expert_.begin(), of_expert_.end(), int64_t{0});
}

QuotaSolver::QuotaSolver(const Topology& topology, int num_experts, int slots)
    : topology_(topology),
      num_experts_(num_experts),
      slots_(slots) {
  const size_t hosts = num_experts + static_cast<size_t>(topology.num_ranks()) * slots;
  const size_t cells = static_cast<size_t>(topology.num_nodes()) * num_experts;
  rank_of_.resize(hosts);
  expert_of_.resize(hosts);
  next_.resize(hosts);
  quota_.resize(hosts);
  first_.resize(num_experts);
  first_in_.resize(cells);
  held_.resize(cells);
  load_.resize(topology.num_ranks());
  crossing_.resize(topology.num_nodes());
  near_.resize(2 * static_cast<size_t>(topology.num_ranks()));
  away_.resize(2 * static_cast<size_t>(topology.num_nodes()));
  used_.resize(topology.num_ranks());
  reached_from_.resize(topology.num_ranks());
  owned_.resize(num_experts);
  first_owned_.resize(topology.num_ranks() + 1);
  for (int32_t rank = 0; rank < topology.num_ranks(); ++rank) {
    std::fill_n(rank_of_.begin() + first_slot(rank), slots, rank);
  }
}

void QuotaSolver::start(std::span<const int32_t> owners,
                        const NodeCounts& counts,
                        const Replicas& replicas,
                        int64_t goal) {
  owners_ = owners;
  counts_ = &counts;
  goal_ = goal;
  list_owned();
  place_owners();
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    for (const int32_t rank : replicas[expert]) {
      place({expert, rank});
    }
  }
  divide_all();
  std::get<0>(changes_).clear();
  std::get<1>(changes_).clear();
}

void QuotaSolver::list_owned() {
  std::fill(first_owned_.begin(), first_owned_.end(), 0);
  for (const int32_t owner : owners_) {
    ++first_owned_[owner + 1];
  }
  std::partial_sum(first_owned_.begin(), first_owned_.end(), first_owned_.begin());
  order_.assign(first_owned_.begin(), first_owned_.end() - 1);
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    owned_[order_[owners_[expert]]++] = expert;
  }
}

void QuotaSolver::place_owners() {
  std::fill(first_in_.begin(), first_in_.end(), -1);
  std::fill(held_.begin(), held_.end(), 0);
  std::fill(expert_of_.begin() + num_experts_, expert_of_.end(), -1);
  std::fill(next_.begin(), next_.end(), -1);
  std::fill(quota_.begin(), quota_.end(), 0);
  std::fill(used_.begin(), used_.end(), 0);
  std::fill(load_.begin(), load_.end(), 0);
  num_replicas_ = num_away_ = 0;
  for (int node = 0; node < topology_.num_nodes(); ++node) {
    crossing_[node] = 0;
    for (const int32_t tokens : counts_->of_node(node)) {
      crossing_[node] += tokens;
    }
  }
  std::fill(near_.begin(), near_.end(), 0);
  std::fill(away_.begin(), away_.end(), 0);
  inter_node_ = 0;
  shared_.clear();
  sent_.clear();
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    expert_of_[expert] = expert;
    rank_of_[expert] = owners_[expert];
    first_[expert] = expert;
    first_in_[cell(topology_.node_of(owners_[expert]), expert)] = expert;
  }
}

int32_t QuotaSolver::host_on(int expert, int32_t rank) const {
  int32_t host = first_in(topology_.node_of(rank), expert);
  while (host >= 0 && rank_of_[host] < rank) {
    host = next_[host];
  }
  return host >= 0 && rank_of_[host] == rank ? host : -1;
}

int64_t QuotaSolver::quota(int expert, int32_t rank) const {
  const int32_t host = host_on(expert, rank);
  return host < 0 ? 0 : quota_[host];
}

void QuotaSolver::copy_replicas(Replicas& replicas) const {
  replicas.resize(num_experts_);
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    replicas[expert].clear();
    for (int32_t host = first_[expert]; host >= 0; host = next_[host]) {
      if (host >= num_experts_) {
        replicas[expert].push_back(rank_of_[host]);
      }
    }
  }
}

int32_t QuotaSolver::slowest() const {
  return static_cast<int32_t>(std::max_element(load_.begin(), load_.end()) - load_.begin());
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
}

void QuotaSolver::give(int32_t host, int64_t tokens) {
  set(quota_[host], quota_[host] + tokens);
  set(load_[rank_of_[host]], load_[rank_of_[host]] + tokens);
}

void QuotaSolver::hold(int node, int expert, int64_t more) {
  const int64_t tokens = counts_->of(node, expert);
  int64_t& held = held_[cell(node, expert)];
  set(inter_node_,
      inter_node_ + std::max<int64_t>(0, tokens - held - more) -
          std::max<int64_t>(0, tokens - held));
  set(crossing_[node], crossing_[node] + std::abs(held + more - tokens) - std::abs(held - tokens));
  set(held, held + more);
}

/// Each node's tokens over its hosts; then those of nodes that lack the expert.
void QuotaSolver::divide_all() {
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    if (!is_shared(expert)) {
      const int home = node_of(expert);
      quota_[expert] = counts_->of_expert(expert);
      load_[rank_of_[expert]] += quota_[expert];
      held_[cell(home, expert)] = quota_[expert];
      inter_node_ += quota_[expert] - counts_->of(home, expert);
      crossing_[home] += quota_[expert] - 2 * counts_->of(home, expert);
    } else {
      shared_.push_back(expert);
    }
  }
  for (const int32_t expert : shared_) {
    int64_t left = counts_->of_expert(expert);
    for (int32_t host = first_[expert]; host >= 0; host = next_[host]) {
      const int node = node_of(host);
      if (first_in(node, expert) == host) {
        held_[cell(node, expert)] = counts_->of(node, expert);
        crossing_[node] -= counts_->of(node, expert);
        level_cell(node, expert);
        left -= held_[cell(node, expert)];
      }
    }
    sent_.push_back(left);
  }
  for (size_t i = 0; i < shared_.size(); ++i) {
    inter_node_ += sent_[i];
    send(shared_[i], sent_[i]);
  }
}

void QuotaSolver::send(int expert, int64_t tokens) {
  filling_.clear();
  for (int32_t host = first_[expert]; host >= 0; host = next_[host]) {
    filling_.emplace_back(load_[rank_of_[host]], host);
  }
  pour(tokens, [&](int32_t host, int64_t more) {
    hold(node_of(host), expert, more);
    give(host, more);
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
  if (filling_.size() == 1) {
    use(filling_[0].second, tokens);
    return;
  }
  std::sort(filling_.begin(), filling_.end());
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
  filling_.clear();
  for (int32_t host = first_in(node, expert); host >= 0; host = next_in_node(host)) {
    filling_.emplace_back(load_[rank_of_[host]] - quota_[host], host);
  }
  pour(held_[cell(node, expert)], [&](int32_t host, int64_t quota) {
    if (quota != quota_[host]) {
      give(host, quota - quota_[host]);
    }
  });
}

/// What moves from host to host of an expert without more tokens that cross nodes: inside a node,
/// what is computed there for others, and what the other node sends away.
int64_t QuotaSolver::free_of_charge(int32_t from, int32_t to) const {
  const int expert = expert_of_[from];
  const int here = node_of(from);
  const int there = node_of(to);
  if (here == there) {
    return quota_[from];
  }
  const int64_t foreign = held_[cell(here, expert)] - counts_->of(here, expert);
  const int64_t away = counts_->of(there, expert) - held_[cell(there, expert)];
  return std::min(quota_[from], std::max({int64_t{0}, foreign, away}));
}

/// Breadth first, over moves that are free of charge as far as they lead.
int32_t QuotaSolver::find_room(int32_t rank, int64_t limit, int reach) {
  reached_.clear();
  later_.clear();
  ++search_;
  reached_from_[rank] = {search_, -1, -1, true};
  reached_.push_back(rank);
  for (size_t next = 0; next < reached_.size() && std::ssize(reached_) <= reach; ++next) {
    int32_t room = -1;
    each_host_on(reached_[next], [&](int32_t host) {
      if (quota_[host] > 0 && room < 0 && is_shared(expert_of_[host])) {
        room = reach_from(host, limit);
      }
    });
    if (room >= 0) {
      return room;
    }
    if (next + 1 < reached_.size()) {
      continue;
    }
    for (const int32_t later : later_) {  // a token more crosses nodes
      if (!reached_from_[later].is_free) {
        reached_from_[later].is_free = true;
        if (load_[later] < limit) {
          return later;
        }
        reached_.push_back(later);
      }
    }
    later_.clear();
  }
  return -1;
}

/// To the ranks of an expert's other hosts; returns one that is below the limit, and free.
int32_t QuotaSolver::reach_from(int32_t host, int64_t limit) {
  for (int32_t to = first_[expert_of_[host]]; to >= 0; to = next_[to]) {
    const int32_t rank = rank_of_[to];
    Reached& reached = reached_from_[rank];
    const bool is_known = reached.search == search_;
    if (is_known && reached.is_free) {
      continue;
    }
    const bool is_free = free_of_charge(host, to) > 0;
    if (is_free) {
      reached = {search_, host, to, true};
      if (load_[rank] < limit) {
        return rank;
      }
      reached_.push_back(rank);
    } else if (!is_known) {
      reached = {search_, host, to, false};
      later_.push_back(rank);
    }
  }
  return -1;
}

void QuotaSolver::push(int32_t rank, int32_t room, int64_t limit) {
  int64_t tokens = std::min(load_[rank] - limit, limit - load_[room]);
  for (int32_t at = room; at != rank; at = rank_of_[reached_from_[at].from]) {
    const auto& [search, from, to, is_free] = reached_from_[at];
    const int64_t free = free_of_charge(from, to);
    tokens = std::min(tokens, free > 0 ? free : quota_[from]);
  }
  for (int32_t at = room; at != rank; at = rank_of_[reached_from_[at].from]) {
    move(reached_from_[at].from, reached_from_[at].to, tokens);
  }
}

void QuotaSolver::move(int32_t from, int32_t to, int64_t tokens) {
  give(from, -tokens);
  give(to, tokens);
  if (node_of(from) != node_of(to)) {
    hold(node_of(from), expert_of_[from], -tokens);
    hold(node_of(to), expert_of_[from], tokens);
  }
}

/// What has room next to it and costs nothing: no search is needed for that.
void QuotaSolver::relieve_directly(int32_t rank, int64_t limit) {
  each_host_on(rank, [&](int32_t host) {
    for (int32_t to = first_[expert_of_[host]]; to >= 0 && load_[rank] > limit; to = next_[to]) {
      const int64_t room = std::min(load_[rank] - limit, limit - load_[rank_of_[to]]);
      if (to != host && room > 0) {
        const int64_t tokens = std::min(room, free_of_charge(host, to));
        if (tokens > 0) {
          move(host, to, tokens);
        }
      }
    }
  });
}

void QuotaSolver::relieve_rank(int32_t rank, int64_t limit, int64_t most, int reach) {
  relieve_directly(rank, limit);
  limit = std::max(limit, least_[rank]);
  while (load_[rank] > limit && limit <= most) {
    const int32_t room = find_room(rank, limit, reach);
    if (room >= 0) {
      push(rank, room, limit);
      continue;
    }
    if (std::ssize(reached_) > reach) {
      return;
    }
    // Nothing leads out of the ranks that were reached: they cannot have less than their mean.
    int64_t tokens = 0;
    for (const int32_t reached : reached_) {
      tokens += load_[reached];
    }
    const int64_t mean = tokens / std::ssize(reached_) + 1;
    if (mean <= limit) {
      return;
    }
    limit = mean;
    for (const int32_t reached : reached_) {
      least_[reached] = std::max(least_[reached], mean);
    }
  }
}

bool QuotaSolver::relieve(int64_t most, int reach) {
  least_.assign(topology_.num_ranks(), goal_);
  order_.clear();
  for (int32_t rank = 0; rank < topology_.num_ranks(); ++rank) {
    if (load_[rank] > goal_) {
      order_.push_back(rank);
    }
  }
  std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    return std::tie(load_[b], a) < std::tie(load_[a], b);
  });
  int64_t limit = goal_;  // below the slowest rank no other gains anything
  for (const int32_t rank : order_) {
    if (load_[rank] <= limit) {
      break;
    }
    relieve_rank(rank, limit, most, reach);
    limit = std::max(limit, load_[rank]);
    if (limit > most) {
      return false;
    }
  }
  return true;
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
