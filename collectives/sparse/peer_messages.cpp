#include "collectives/sparse/peer_messages.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "collectives/queue_event.h"

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

/// Room for all pieces, one behind the other, freed with the last buffer that views it.
Buffer room_for(const std::vector<Buffer>& pieces) {
  Buffer room{.dtype = pieces.front().dtype};
  for (const Buffer& piece : pieces) {
    room.count += piece.count;
  }
  const std::shared_ptr<void> memory = allocate(Queue(), static_cast<size_t>(room.bytes()));
  room.data = memory.get();
  room.keep = memory;
  return room;
}

/// use(stretch of the room, piece) for each.
template <typename Use>
void match(const Buffer& room, const std::vector<Buffer>& pieces, Use use) {
  int64_t first = 0;
  for (const Buffer& piece : pieces) {
    use(room.slice(first, piece.count), piece);
    first += piece.count;
  }
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
  bool done() override { return copies_.empty() && messages_.done(); }

 private:
  Work messages_;
  std::vector<Copy> copies_;
};

}  // namespace

Work PeerMessages::exchange(Communicator& communicator, const Queue& after) {
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::vector<Copy> unpacked;
  const auto add = [](int peer, const std::vector<Buffer>& pieces, std::vector<Message>& messages) {
    for (const Buffer& piece : pieces) {
      messages.push_back({peer, piece});
    }
  };
  for (const auto& [peer, pieces] : sent_) {
    if (!are_packed(pieces)) {
      add(peer, pieces, sends);
      continue;
    }
    const Buffer room = room_for(pieces);
    match(room, pieces, [](const Buffer& stretch, const Buffer& piece) { copy({piece, stretch}); });
    sends.push_back({peer, room});
  }
  for (const auto& [peer, pieces] : received_) {
    if (!are_packed(pieces)) {
      add(peer, pieces, receives);
      continue;
    }
    const Buffer room = room_for(pieces);
    match(room, pieces, [&](const Buffer& stretch, const Buffer& piece) {
      unpacked.push_back({stretch, piece});
    });
    receives.push_back({peer, room});
  }
  Work messages = communicator.exchange(sends, receives, after);
  return unpacked.empty()
             ? std::move(messages)
             : Work(std::make_unique<Unpacking>(std::move(messages), std::move(unpacked)));
}

}  // namespace enodia
