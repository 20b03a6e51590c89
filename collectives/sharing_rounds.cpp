#include "collectives/sharing_rounds.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "common/check.h"

namespace enodia {
namespace {

using Parts = std::vector<std::vector<Buffer>>;

// Of all ranks: what is smaller arrives sooner without the second round.
constexpr int64_t kFewBytes = int64_t{1} << 14;

/// Who passes whose buffers on in which node.
class Relays {
 public:
  explicit Relays(std::span<const int> nodes) : nodes_(nodes), place_(nodes.size()) {
    for (size_t rank = 0; rank < nodes.size(); ++rank) {
      const auto node = static_cast<size_t>(nodes[rank]);
      members_.resize(std::max(members_.size(), node + 1));
      place_[rank] = members_[node].size();
      members_[node].push_back(static_cast<int>(rank));
    }
  }
  bool are_of_use() const { return members_.size() > 1 && members_.size() < nodes_.size(); }
  bool are_in_one_node(int a, int b) const { return nodes_[a] == nodes_[b]; }
  /// The rank beside `near` that gets the buffers of `rank`, of another node.
  int of(int rank, int near) const {
    const std::vector<int>& members = members_[nodes_[near]];
    return members[place_[rank] % members.size()];
  }

 private:
  std::span<const int> nodes_;
  std::vector<size_t> place_;              // of a rank in its node
  std::vector<std::vector<int>> members_;  // of a node
};

void add(std::vector<Message>& messages, int peer, const std::vector<Buffer>& buffers) {
  for (const Buffer& buffer : buffers) {
    messages.push_back({peer, buffer});
  }
}

int64_t bytes_of(const Parts& parts) {
  int64_t bytes = 0;
  for (const std::vector<Buffer>& part : parts) {
    for (const Buffer& buffer : part) {
      bytes += buffer.bytes();
    }
  }
  return bytes;
}

/// To ranks of the own node, and to one of each other: to all without relays.
ExchangeRound round_out(int own, const Relays* relays, const Parts& parts) {
  ExchangeRound round;
  for (int peer = 0; peer < std::ssize(parts); ++peer) {
    if (peer == own) {
      continue;
    }
    const bool direct = relays == nullptr || relays->are_in_one_node(peer, own);
    if (direct || relays->of(own, peer) == peer) {
      add(round.sends, peer, parts[own]);
    }
    if (direct || relays->of(peer, own) == own) {
      add(round.receives, peer, parts[peer]);
    }
  }
  return round;
}

/// What came from other nodes, inside the own.
ExchangeRound round_inside(int own, const Relays& relays, const Parts& parts) {
  ExchangeRound round;
  round.after = 0;
  for (int peer = 0; peer < std::ssize(parts); ++peer) {
    if (peer == own || !relays.are_in_one_node(peer, own)) {
      continue;
    }
    for (int away = 0; away < std::ssize(parts); ++away) {
      if (relays.are_in_one_node(away, own)) {
        continue;
      }
      const int relay = relays.of(away, own);
      if (relay == own) {
        add(round.sends, peer, parts[away]);
      } else if (relay == peer) {
        add(round.receives, peer, parts[away]);
      }
    }
  }
  return round;
}

}  // namespace

std::vector<ExchangeRound> sharing_rounds(const Communicator& communicator, const Parts& parts) {
  ENODIA_CHECK_EQ(std::ssize(parts), communicator.world_size(), "one part for each rank");
  const int own = communicator.rank();
  if (bytes_of(parts) >= kFewBytes) {
    const Relays relays(communicator.nodes());
    if (relays.are_of_use()) {
      return {round_out(own, &relays, parts), round_inside(own, relays, parts)};
    }
  }
  return {round_out(own, nullptr, parts)};
}

}  // namespace enodia
