#include "parallel/exchange_counts.h"

#include <algorithm>

#include "common/check.h"
#include "common/random.h"

namespace enodia {
namespace {

/// Consecutive ranks of the group that share a node.
struct NodeRange {
  int first, size;
};

std::vector<NodeRange> node_ranges(std::span<const int> nodes) {
  std::vector<NodeRange> ranges;
  for (int rank = 0; rank < static_cast<int>(nodes.size()); ++rank) {
    if (nodes[rank] == static_cast<int>(ranges.size())) {
      ranges.push_back({rank, 0});
    }
    ENODIA_CHECK_EQ(nodes[rank] + 1,
                    static_cast<int>(ranges.size()),
                    "the ranks of a node must be consecutive; map ranks node by node");
    ++ranges.back().size;
  }
  return ranges;
}

void check_hash(int64_t mine, int64_t theirs, int rank, int other) {
  if (mine != theirs) {
    throw CommError("ranks " + std::to_string(rank) + " and " + std::to_string(other) +
                    " disagree on the plan of the next MoE layer; the configurations, seeds or "
                    "binaries of the ranks differ");
  }
}

/// What comes from a rank or speaks for a node: E counts and the hash.
void check_line(std::span<const int64_t> mine, std::span<const int64_t> line, int rank, int other) {
  check_hash(mine.back(), line.back(), rank, other);
  constexpr int64_t kMost = int64_t{1} << 40;  // sums over any number of ranks stay exact
  for (const int64_t count : line.first(line.size() - 1)) {
    if (count < 0 || count > kMost) {
      throw CommError("rank " + std::to_string(other) + " announces " + std::to_string(count) +
                      " tokens for an expert to rank " + std::to_string(rank) +
                      "; what it sent was not what arrived");
    }
  }
}

/// A row on the wire: E counts and the hash.
std::vector<int64_t> exchange_rows(Communicator& group,
                                   const NodeRange& node,
                                   std::vector<int64_t> mine) {
  const auto width = static_cast<int64_t>(mine.size());
  std::vector<int64_t> rows(node.size * width);
  const Buffer sent = view(std::span<int64_t>(mine));
  const Buffer all = view(std::span<int64_t>(rows));
  std::vector<Message> sends;
  std::vector<Message> receives;
  for (int i = 0; i < node.size; ++i) {
    sends.push_back({node.first + i, sent});
    receives.push_back({node.first + i, all.slice(i * width, width)});
  }
  group.exchange(sends, receives).wait();
  for (int i = 0; i < node.size; ++i) {
    check_line(mine, std::span(rows).subspan(i * width, width), group.rank(), node.first + i);
  }
  return rows;
}

/// Fills the other nodes' lines of `totals` [N, width]. Rank j of a node hears from rank j modulo
/// the sending node's size, so nobody sends to a whole cluster.
void exchange_totals(Communicator& group,
                     const std::vector<NodeRange>& nodes,
                     int my_node,
                     std::vector<int64_t>& totals,
                     int64_t width) {
  const Buffer all = view(std::span<int64_t>(totals));
  const NodeRange& mine = nodes[my_node];
  const int my_index = group.rank() - mine.first;
  std::vector<Message> sends;
  std::vector<Message> receives;
  for (int node = 0; node < static_cast<int>(nodes.size()); ++node) {
    if (node == my_node) {
      continue;
    }
    receives.push_back(
        {nodes[node].first + my_index % nodes[node].size, all.slice(node * width, width)});
    for (int i = my_index; i < nodes[node].size; i += mine.size) {
      sends.push_back({nodes[node].first + i, all.slice(my_node * width, width)});
    }
  }
  group.exchange(sends, receives).wait();
  for (int node = 0; node < static_cast<int>(nodes.size()); ++node) {
    check_line(std::span(totals).subspan(my_node * width, width),
               std::span(totals).subspan(node * width, width),
               group.rank(),
               nodes[node].first);
  }
}

}  // namespace

std::vector<int64_t> ExchangedCounts::totals() const {
  std::vector<int64_t> sums(num_experts, 0);
  for (size_t i = 0; i < node_totals.size(); ++i) {
    sums[i % num_experts] += node_totals[i];
  }
  return sums;
}

uint64_t ExchangedCounts::hash(Scope scope) const {
  RandomKey key(static_cast<uint64_t>(num_experts));
  for (const int64_t count : node_totals) {
    key = key.with(static_cast<uint64_t>(count));
  }
  for (const int64_t count : rank_rows) {
    key = key.with(static_cast<uint64_t>(count));
  }
  for (size_t i = 0; scope == Scope::kNode && i < node_rows.size(); ++i) {
    key = key.with(static_cast<uint64_t>(node_rows[i]));
  }
  return key.value();
}

ExchangedCounts exchange_counts(Communicator& group,
                                std::span<const int64_t> my_counts,
                                uint64_t next_plan_hash,
                                CountsReach reach) {
  const std::vector<NodeRange> nodes = node_ranges(group.nodes());
  const int my_node = group.nodes()[group.rank()];
  const auto experts = static_cast<int64_t>(my_counts.size());
  const int64_t width = experts + 1;
  const bool knows_all = reach == CountsReach::kRanks;
  const NodeRange heard = knows_all ? NodeRange{0, group.world_size()} : nodes[my_node];
  std::vector<int64_t> mine(my_counts.begin(), my_counts.end());
  mine.push_back(static_cast<int64_t>(next_plan_hash));
  const std::vector<int64_t> rows = exchange_rows(group, heard, std::move(mine));

  std::vector<int64_t> totals(nodes.size() * width, 0);
  for (int64_t i = 0; i < heard.size * width; ++i) {
    totals[group.nodes()[heard.first + i / width] * width + i % width] += rows[i];
  }
  if (!knows_all) {
    totals[(my_node + 1) * width - 1] = static_cast<int64_t>(next_plan_hash);
    exchange_totals(group, nodes, my_node, totals, width);
  }

  ExchangedCounts counts;
  counts.num_nodes = static_cast<int>(nodes.size());
  counts.num_experts = static_cast<int>(experts);
  const auto append =
      [&](const std::vector<int64_t>& lines, int64_t line, std::vector<int64_t>& to) {
        const auto first = lines.begin() + line * width;
        to.insert(to.end(), first, first + experts);
      };
  for (size_t node = 0; node < nodes.size(); ++node) {
    append(totals, static_cast<int64_t>(node), counts.node_totals);
  }
  for (int rank = heard.first; rank < heard.first + heard.size; ++rank) {
    if (group.nodes()[rank] == my_node) {
      append(rows, rank - heard.first, counts.node_rows);
    }
    if (knows_all) {
      append(rows, rank, counts.rank_rows);
    }
  }
  return counts;
}

}  // namespace enodia
