#include "collectives/sparse/packed_exchange.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "collectives/sparse/scratch_buffer.h"

namespace enodia {
namespace {

/// A larger piece takes longer to send than a message costs.
constexpr int64_t kSmallPiece = int64_t{32} << 10;

/// Where each piece of a packed message belongs.
struct Copy {
  Buffer from, to;
};

bool are_packed(const std::vector<Buffer>& pieces) {
  return pieces.size() > 1 && std::all_of(pieces.begin(), pieces.end(), [&](const Buffer& piece) {
           return piece.device < 0 && piece.bytes() <= kSmallPiece &&
                  piece.dtype == pieces.front().dtype;
         });
}

/// Room for all pieces, one behind the other.
Buffer room_for(const std::vector<Buffer>& pieces) {
  Buffer all = pieces.front();
  all.count = 0;
  for (const Buffer& piece : pieces) {
    all.count += piece.count;
  }
  return scratch_like(all, Queue());
}

/// The messages by peer, packed where that pays: then match(stretch of the room, piece) for each.
template <typename Match>
std::vector<Message> pack(std::span<const Message> messages, Match match) {
  std::map<int, std::vector<Buffer>> by_peer;
  for (const Message& message : messages) {
    by_peer[message.peer].push_back(message.buffer);
  }
  std::vector<Message> packed;
  for (const auto& [peer, pieces] : by_peer) {
    if (!are_packed(pieces)) {
      for (const Buffer& piece : pieces) {
        packed.push_back({peer, piece});
      }
      continue;
    }
    const Buffer room = room_for(pieces);
    int64_t first = 0;
    for (const Buffer& piece : pieces) {
      match(room.slice(first, piece.count), piece);
      first += piece.count;
    }
    packed.push_back({peer, room});
  }
  return packed;
}

void copy(const Copy& copy) {
  Queue().copy(copy.to.data, copy.from.data, static_cast<size_t>(copy.from.bytes()));
}

/// Puts pieces where they belong when the messages are there.
class Unpacking : public PendingOperation {
 public:
  Unpacking(Work messages, std::vector<Copy> copies)
      : messages_(std::move(messages)),
        copies_(std::move(copies)) {}
  void wait(const Queue& queue) override {
    messages_.wait(queue);
    std::for_each(copies_.begin(), copies_.end(), copy);
    copies_.clear();
  }
  bool done() override { return messages_.done(); }

 private:
  Work messages_;
  std::vector<Copy> copies_;
};

}  // namespace

Work exchange_packed(Communicator& communicator,
                     std::span<const Message> sends,
                     std::span<const Message> receives,
                     const Queue& after) {
  const std::vector<Message> packed_sends =
      pack(sends, [](const Buffer& stretch, const Buffer& piece) {
        copy({piece, stretch});
      });
  std::vector<Copy> unpacked;
  const std::vector<Message> packed_receives =
      pack(receives, [&](const Buffer& stretch, const Buffer& piece) {
        unpacked.push_back({stretch, piece});
      });
  Work messages = communicator.exchange(packed_sends, packed_receives, after);
  return unpacked.empty()
             ? std::move(messages)
             : Work(std::make_unique<Unpacking>(std::move(messages), std::move(unpacked)));
}

}  // namespace enodia
