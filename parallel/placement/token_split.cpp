#include "parallel/placement/token_split.h"

#include <algorithm>

namespace enodia {
namespace {

/// Lays the tokens [first, last) of a queue on rooms that follow each other. Returns the sum of the
/// rooms.
int64_t fill(std::span<const int64_t> rooms,
             int64_t first,
             int64_t last,
             std::vector<ReplicaShare>& shares) {
  int64_t begin = 0;
  for (size_t host = 0; host < rooms.size(); ++host) {
    const int64_t end = begin + rooms[host];
    const int64_t tokens = std::min(end, last) - std::max(begin, first);
    if (tokens > 0) {
      shares.push_back({static_cast<int32_t>(host), tokens});
    }
    begin = end;
  }
  return begin;
}

}  // namespace

void split_tokens(const Topology& topology,
                  int rank,
                  const ExpertTokens& tokens,
                  std::vector<ReplicaShare>& shares) {
  const auto& [hosts, quotas, of_nodes, of_ranks] = tokens;
  const int node = topology.node_of(rank);
  const int my_index = rank - topology.first_rank(node);

  // What is left over on lower nodes, and what each host takes of that of all nodes.
  int64_t remote_before = 0;
  std::vector<int64_t> from_afar(hosts.size(), 0);
  size_t end = 0;
  for (int n = 0; n < topology.num_nodes(); ++n) {
    const size_t begin = end;
    int64_t room = -of_nodes[n];
    for (; end < hosts.size() && topology.node_of(hosts[end]) == n; ++end) {
      room += quotas[end];
    }
    if (n < node) {
      remote_before += std::max<int64_t>(0, -room);
    }
    for (size_t host = end; host-- > begin && room > 0;) {
      from_afar[host] = std::min(room, quotas[host]);
      room -= from_afar[host];
    }
  }

  // Inside the node: first what stays on its rank, then ranks one after the other.
  std::vector<int64_t> gaps(hosts.size(), 0);
  std::vector<int64_t> left(of_ranks.begin(), of_ranks.end());
  for (size_t host = 0; host < hosts.size(); ++host) {
    if (topology.node_of(hosts[host]) == node) {
      const int index = hosts[host] - topology.first_rank(node);
      const int64_t room = quotas[host] - from_afar[host];
      const int64_t stay = std::min(room, left[index]);
      left[index] -= stay;
      gaps[host] = room - stay;
      if (index == my_index && stay > 0) {
        shares.push_back({static_cast<int32_t>(host), stay});
      }
    }
  }
  int64_t before = 0;
  for (int index = 0; index < my_index; ++index) {
    before += left[index];
  }
  const int64_t after = before + left[my_index];
  const int64_t near = fill(gaps, before, after, shares);
  if (after > near) {
    const int64_t first = remote_before + std::max<int64_t>(0, before - near);
    fill(from_afar, first, remote_before + after - near, shares);
  }
}

}  // namespace enodia
