// How a QuotaSolver moves tokens of ranks above the goal.
#include <algorithm>
#include <cstdint>

#include "parallel/placement/quota_solver.h"

namespace enodia {

/// What moves from host to host of an expert without more tokens that cross nodes: inside a node,
/// what is computed there for others, and what the other node sends away.
int64_t QuotaSolver::free_of_charge(int32_t from, int32_t to) const {
  const int expert = expert_of_[from];
  const int here = node_of(from);
  const int there = node_of(to);
  if (here == there) {
    return quota_[from];
  }
  return std::min(quota_[from],
                  std::max({int64_t{0}, surplus(here, expert), -surplus(there, expert)}));
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
    each_shared_host_on(reached_[next], [&](int32_t host) {
      if (room < 0 && quota_[host] > 0) {
        // Where one host of an expert in a node leads to, all of them do.
        int64_t& left = left_[cell(node_of(host), expert_of_[host])];
        if (left != search_) {
          left = search_;
          room = reach_from(host, limit);
        }
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
  const int expert = expert_of_[host];
  const int here = node_of(host);
  const bool is_foreign = surplus(here, expert) > 0;  // free wherever it goes
  for (int32_t to = first_[expert]; to >= 0; to = next_[to]) {
    const int32_t rank = rank_of_[to];
    Reached& reached = reached_from_[rank];
    const bool is_known = reached.search == search_;
    if (is_known && reached.is_free) {
      continue;
    }
    const int there = node_of(to);
    if (is_foreign || there == here || surplus(there, expert) < 0) {
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

void QuotaSolver::take_over(Replica replica, int32_t from) {
  const int32_t host = host_on(replica.expert, from);
  const int64_t tokens = std::min({quota_[host], load_[from] - goal_, goal_ - load_[replica.rank]});
  if (tokens > 0) {
    move(host, host_on(replica.expert, replica.rank), tokens);
  }
}

/// What has room next to it and costs nothing: no search is needed for that.
void QuotaSolver::relieve_directly(int32_t rank, int64_t limit) {
  each_shared_host_on(rank, [&](int32_t host) {
    if (quota_[host] == 0) {
      return;
    }
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
    const int64_t mean = tokens / std::ssize(reached_) + 1;  // above the limit, as all are there
    limit = mean;
    for (const int32_t reached : reached_) {
      least_[reached] = std::max(least_[reached], mean);
    }
  }
}

bool QuotaSolver::relieve(int64_t most, int reach) {
  return relieve_above(goal_, most, reach) <= most;
}

int64_t QuotaSolver::relieve_above(int64_t limit, int64_t most, int reach) {
  least_.assign(topology_.num_ranks(), goal_);
  over_.clear();
  for (int32_t rank = 0; rank < topology_.num_ranks(); ++rank) {
    if (load_[rank] > limit) {
      over_.emplace_back(load_[rank], rank);
    }
  }
  // A heap: few are above what the slowest rank is left with, and below it no other gains anything.
  // Of equal ones the larger rank goes first: rooms are looked for from the smaller ids, and so it
  // meets fewer full ranks (a fifth less time).
  std::make_heap(over_.begin(), over_.end());
  for (; !over_.empty() && load_[over_.front().second] > limit && limit <= most; over_.pop_back()) {
    std::pop_heap(over_.begin(), over_.end());
    const int32_t rank = over_.back().second;
    relieve_rank(rank, limit, most, reach);
    limit = std::max(limit, load_[rank]);
  }
  return limit;
}

}  // namespace enodia
