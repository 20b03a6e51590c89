#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// The pieces of one exchange between ranks, as few messages: small ones for one peer travel as
/// one, since many small experts would cost a message's latency each. Sender and receiver add the
/// same pieces in the same order, so they pack alike. On the host; on a device each piece is a
/// message, which a group of launches makes cheap.
class PeerMessages {
 public:
  void send(int peer, const Buffer& piece) { sent_[peer].push_back(piece); }
  void receive(int peer, const Buffer& piece) { received_[peer].push_back(piece); }

  /// Copies what is packed, and starts. Once. Collective.
  Work exchange(Communicator& communicator, const Queue& after);

 private:
  using Pieces = std::map<int, std::vector<Buffer>>;  // by peer
  Pieces sent_, received_;
};

}  // namespace enodia
