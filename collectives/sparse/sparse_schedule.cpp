#include "collectives/sparse/sparse_schedule.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "collectives/pipelined.h"
#include "common/check.h"

namespace enodia {
namespace {

/// A stretch of a chunk.
struct Stretch {
  int64_t first;
  int64_t count;
  int64_t end() const { return first + count; }
};

/// Part `index` of `parts` that differ by an element at most.
Stretch part_of(const Stretch& whole, size_t index, size_t parts) {
  const auto at = [&](size_t i) {
    return whole.first + whole.count * static_cast<int64_t>(i) / static_cast<int64_t>(parts);
  };
  return {at(index), at(index + 1) - at(index)};
}

Stretch common_of(const Stretch& one, const Stretch& other) {
  const int64_t first = std::max(one.first, other.first);
  return {first, std::max<int64_t>(0, std::min(one.end(), other.end()) - first)};
}

/// Those who receive a chunk together: member i is the first of them to have stripe i.
using Members = std::vector<int32_t>;

void add_transfer(TransferRound& round, int32_t chunk, int32_t from, int32_t to, Stretch what) {
  if (what.count > 0) {
    round.transfers.push_back({chunk, from, to, what.first, what.count});
  }
}

/// Each member of `to` receives its stripe from those members of `from` whose stripes it is.
void cross(TransferRound& round,
           int32_t chunk,
           const Stretch& piece,
           const Members& from,
           const Members& to) {
  for (size_t receiver = 0; receiver < to.size(); ++receiver) {
    const Stretch wanted = part_of(piece, receiver, to.size());
    for (size_t sender = 0; sender < from.size(); ++sender) {
      const Stretch had = part_of(piece, sender, from.size());
      add_transfer(round, chunk, from[sender], to[receiver], common_of(wanted, had));
    }
  }
}

/// Each member gives its stripe to all others.
void share(TransferRound& round, int32_t chunk, const Stretch& piece, const Members& members) {
  for (size_t sender = 0; sender < members.size(); ++sender) {
    for (size_t receiver = 0; receiver < members.size(); ++receiver) {
      if (receiver != sender) {
        add_transfer(round,
                     chunk,
                     members[sender],
                     members[receiver],
                     part_of(piece, sender, members.size()));
      }
    }
  }
}

void check_places(const ChunkPlaces& places) {
  ENODIA_CHECK_EQ(places.owners.size(), places.holders.size(), "an owner and holders a chunk");
  ENODIA_CHECK_EQ(places.owners.size(), places.elements.size(), "an owner and a size a chunk");
}

int64_t largest_chunk(const ChunkPlaces& places) {
  const auto& elements = places.elements;
  return elements.empty() ? 0 : *std::max_element(elements.begin(), elements.end());
}

/// The holders of a chunk other than its owner, ascending.
std::vector<int32_t> receivers_of(const ChunkPlaces& places, size_t chunk) {
  std::vector<int32_t> ranks = places.holders[chunk];
  std::erase(ranks, places.owners[chunk]);
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

/// The way of one chunk.
struct Tree {
  std::vector<Members> near;   // each holder on the owner's node by itself
  std::vector<Members> nodes;  // the holders on each other node, in order behind the owner's
};

Tree tree_of(const ChunkPlaces& places, size_t chunk, std::span<const int> nodes) {
  const int num_nodes = nodes.empty() ? 0 : *std::max_element(nodes.begin(), nodes.end()) + 1;
  const int home = nodes[places.owners[chunk]];
  Tree tree;
  std::map<int, Members> by_distance;
  for (const int32_t rank : receivers_of(places, chunk)) {
    if (nodes[rank] == home) {
      tree.near.push_back({rank});
    } else {
      by_distance[(nodes[rank] - home + num_nodes) % num_nodes].push_back(rank);
    }
  }
  for (auto& [distance, members] : by_distance) {
    tree.nodes.push_back(std::move(members));
  }
  return tree;
}

/// The rounds of one piece by the distance from the owner: round i brings stripes to the nodes that
/// are i + 1 crossings away, while those of i crossings exchange theirs.
class PieceRounds {
 public:
  TransferRound& at(size_t distance) {
    rounds_.resize(std::max(rounds_.size(), distance + 1));
    return rounds_[distance];
  }
  /// A tree in the order of a heap: node i (from 1; 0 = the owner) hangs on (i - 1) / fan_out.
  void send(int32_t chunk, int32_t owner, const Stretch& piece, const Tree& tree, size_t fan_out) {
    const Members root{owner};
    for (const Members& member : tree.near) {
      cross(at(0), chunk, piece, root, member);
    }
    std::vector<size_t> distances{0};
    for (size_t i = 1; i <= tree.nodes.size(); ++i) {
      const size_t parent = (i - 1) / fan_out;
      const size_t distance = distances[parent] + 1;
      distances.push_back(distance);
      const Members& members = tree.nodes[i - 1];
      cross(at(distance - 1), chunk, piece, parent == 0 ? root : tree.nodes[parent - 1], members);
      if (members.size() > 1) {
        share(at(distance), chunk, piece, members);
      }
    }
  }
  std::vector<TransferRound> take() {
    for (TransferRound& round : rounds_) {
      std::sort(round.transfers.begin(), round.transfers.end(), [](const auto& a, const auto& b) {
        return std::tie(a.chunk, a.to, a.first) < std::tie(b.chunk, b.to, b.first);
      });
    }
    return std::move(rounds_);
  }

 private:
  std::vector<TransferRound> rounds_;
};

SparseSchedule tree_schedule(const ChunkPlaces& places,
                             std::span<const int> nodes,
                             int64_t piece_elements,
                             size_t fan_out) {
  check_places(places);
  ENODIA_CHECK(piece_elements > 0, "pieces of ", piece_elements, " elements; ask for 1 or more");
  std::vector<Tree> trees;
  for (size_t chunk = 0; chunk < places.owners.size(); ++chunk) {
    trees.push_back(tree_of(places, chunk, nodes));
  }
  std::vector<std::vector<TransferRound>> pieces;
  const int64_t longest = largest_chunk(places);
  for (int64_t first = 0; first < longest; first += piece_elements) {
    PieceRounds rounds;
    for (size_t chunk = 0; chunk < trees.size(); ++chunk) {
      const Stretch piece = common_of({first, piece_elements}, {0, places.elements[chunk]});
      rounds.send(static_cast<int32_t>(chunk), places.owners[chunk], piece, trees[chunk], fan_out);
    }
    pieces.push_back(rounds.take());
  }
  return {places.owners, pipelined(std::move(pieces))};
}

/// What one chunk asks of a schedule.
struct Spread {
  size_t nodes = 0;            // other than the owner's
  bool crosses_twice = false;  // several holders on one of them
};

Spread spread_of(const Tree& tree) {
  return {tree.nodes.size(),
          std::any_of(tree.nodes.begin(), tree.nodes.end(), [](const auto& node) {
            return node.size() > 1;
          })};
}

}  // namespace

SparseSchedule direct_schedule(const ChunkPlaces& places) {
  check_places(places);
  TransferRound round;
  for (size_t chunk = 0; chunk < places.owners.size(); ++chunk) {
    for (const int32_t holder : receivers_of(places, chunk)) {
      add_transfer(round,
                   static_cast<int32_t>(chunk),
                   places.owners[chunk],
                   holder,
                   {0, places.elements[chunk]});
    }
  }
  return {places.owners, {std::move(round)}};
}

SparseSchedule node_multicast_schedule(const ChunkPlaces& places,
                                       std::span<const int> nodes,
                                       int64_t piece_elements) {
  return tree_schedule(places, nodes, piece_elements, std::numeric_limits<size_t>::max());
}

SparseSchedule relay_schedule(const ChunkPlaces& places,
                              std::span<const int> nodes,
                              int64_t piece_elements,
                              int fan_out) {
  ENODIA_CHECK(fan_out > 0, "a node that sends on to ", fan_out, " others; ask for 1 or more");
  return tree_schedule(places, nodes, piece_elements, static_cast<size_t>(fan_out));
}

SparseSchedule transposed(const SparseSchedule& schedule) {
  const int last = static_cast<int>(schedule.rounds.size()) - 1;
  SparseSchedule backwards{schedule.owners, {schedule.rounds.rbegin(), schedule.rounds.rend()}};
  for (TransferRound& round : backwards.rounds) {
    round.after = -1;
    for (ChunkTransfer& transfer : round.transfers) {
      std::swap(transfer.from, transfer.to);
    }
  }
  for (int i = 0; i <= last; ++i) {
    if (const int before = schedule.rounds[i].after; before >= 0) {
      backwards.rounds[last - before].after = last - i;
    }
  }
  return backwards;
}

SparseSchedule choose_schedule(const ChunkPlaces& places,
                               std::span<const int> nodes,
                               int64_t element_bytes,
                               const ScheduleRule& rule) {
  check_places(places);
  size_t fan_out = 0;
  bool crosses_twice = false;
  for (size_t chunk = 0; chunk < places.owners.size(); ++chunk) {
    const Spread spread = spread_of(tree_of(places, chunk, nodes));
    fan_out = std::max(fan_out, spread.nodes);
    crosses_twice = crosses_twice || spread.crosses_twice;
  }
  const bool is_wide = fan_out > static_cast<size_t>(rule.wide_fan_out);
  const int64_t longest = largest_chunk(places);
  const bool is_small = longest * element_bytes < rule.small_chunk_bytes;
  if (is_small || (!crosses_twice && !is_wide)) {
    return direct_schedule(places);
  }
  const int64_t piece = std::max<int64_t>(1, rule.piece_bytes / element_bytes);
  if (!is_wide) {
    return node_multicast_schedule(places, nodes, piece);
  }
  const bool fills_chain = longest / piece >= static_cast<int64_t>(fan_out);
  return relay_schedule(places, nodes, piece, fills_chain ? 1 : 2);
}

}  // namespace enodia
