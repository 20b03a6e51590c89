#include "collectives/collectives.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <utility>

#include "collectives/fixed_order_reduction.h"
#include "collectives/queue_event.h"
#include "common/check.h"

namespace enodia {
namespace {

/// One message per peer, `counts[p]` elements each, one after the other in `buffer`.
std::vector<Message> consecutive_messages(const Buffer& buffer, std::span<const int64_t> counts) {
  std::vector<Message> messages;
  int64_t first = 0;
  for (size_t peer = 0; peer < counts.size(); ++peer) {
    messages.push_back({static_cast<int>(peer), buffer.slice(first, counts[peer])});
    first += counts[peer];
  }
  return messages;
}

void check_counts(const Buffer& buffer, std::span<const int64_t> counts, int world_size) {
  ENODIA_CHECK_EQ(counts.size(), static_cast<size_t>(world_size), "one count for each rank");
  ENODIA_CHECK(std::all_of(counts.begin(), counts.end(), [](int64_t n) { return n >= 0; }));
  ENODIA_CHECK_EQ(std::accumulate(counts.begin(), counts.end(), int64_t{0}),
                  buffer.count,
                  "the counts must add up to the buffer's elements");
}

/// The exchange of a reduce-scatter; sums what arrived once it is there.
class ScatteredSum : public PendingOperation {
 public:
  /// `pieces` are every rank's contributions to `mine`, in rank order; `arrived` keeps them.
  /// `on` is the queue that sums.
  ScatteredSum(Work exchange,
               std::vector<const std::byte*> pieces,
               Buffer mine,
               std::shared_ptr<std::byte> arrived,
               const Queue& on)
      : exchange_(std::move(exchange)),
        pieces_(std::move(pieces)),
        mine_(std::move(mine)),
        arrived_(std::move(arrived)),
        on_(on) {}
  void wait(const Queue& queue) override {
    exchange_.wait(on_);
    on_.reduce(
        pieces_, static_cast<std::byte*>(mine_.data), mine_.count, mine_.dtype, ReduceOp::kSum);
    wait_between(on_, queue);
  }
  bool done() override { return exchange_.done(); }

 private:
  Work exchange_;
  std::vector<const std::byte*> pieces_;
  Buffer mine_;
  std::shared_ptr<std::byte> arrived_;
  Queue on_;
};

/// The queue that works on the memory of `buffer`, which is used after `after`.
Queue queue_of(const Buffer& buffer, const Queue& after) {
  return buffer.device < 0 ? Queue() : after;
}

}  // namespace

Work fixed_order_all_reduce(Communicator& communicator,
                            Buffer inout,
                            ReduceOp op,
                            const Queue& after) {
  if (communicator.world_size() == 1) {
    return communicator.exchange({}, {}, after);
  }
  const Queue queue = queue_of(inout, after);
  FixedOrderReduction reduction(communicator, std::move(inout), op, queue);
  reduction.gather(after).wait(queue);
  reduction.reduce();
  return communicator.exchange_in_rounds(reduction.share(), queue);
}

Work all_to_all(Communicator& communicator,
                const Buffer& send,
                std::span<const int64_t> send_counts,
                const Buffer& receive,
                std::span<const int64_t> receive_counts,
                const Queue& after) {
  check_counts(send, send_counts, communicator.world_size());
  check_counts(receive, receive_counts, communicator.world_size());
  return communicator.exchange(consecutive_messages(send, send_counts),
                               consecutive_messages(receive, receive_counts),
                               after);
}

Work all_gather(Communicator& communicator,
                const Buffer& mine,
                const Buffer& receive,
                const Queue& after) {
  const int world_size = communicator.world_size();
  ENODIA_CHECK_EQ(receive.count, mine.count * world_size, "room for every rank's elements");
  std::vector<Message> sends;
  for (int peer = 0; peer < world_size; ++peer) {
    sends.push_back({peer, mine});
  }
  const std::vector<int64_t> counts(static_cast<size_t>(world_size), mine.count);
  return communicator.exchange(sends, consecutive_messages(receive, counts), after);
}

Work all_gather(Communicator& communicator,
                const Buffer& mine,
                std::span<const int64_t> counts,
                const Buffer& receive,
                const Queue& after) {
  check_counts(receive, counts, communicator.world_size());
  ENODIA_CHECK_EQ(mine.count, counts[communicator.rank()], "elements of this rank");
  std::vector<Message> sends;
  for (int peer = 0; peer < communicator.world_size(); ++peer) {
    sends.push_back({peer, mine});
  }
  return communicator.exchange(sends, consecutive_messages(receive, counts), after);
}

Work reduce_scatter(Communicator& communicator,
                    const Buffer& contribution,
                    std::span<const int64_t> counts,
                    const Buffer& mine,
                    const Queue& after) {
  const int world_size = communicator.world_size();
  check_counts(contribution, counts, world_size);
  ENODIA_CHECK_EQ(mine.count, counts[communicator.rank()], "elements of this rank");
  const Queue queue = queue_of(mine, after);
  const auto arrived = std::static_pointer_cast<std::byte>(
      allocate(queue, static_cast<size_t>(mine.bytes() * world_size)));
  std::vector<Message> sends = consecutive_messages(contribution, counts);
  std::vector<Message> receives;
  std::vector<const std::byte*> pieces;
  for (int peer = 0; peer < world_size; ++peer) {
    std::byte* const place = arrived.get() + peer * mine.bytes();
    receives.push_back({peer, Buffer{place, mine.count, mine.dtype, mine.device, arrived}});
    pieces.push_back(place);
  }
  // The own piece is not copied.
  const auto rank = static_cast<size_t>(communicator.rank());
  pieces[rank] = static_cast<const std::byte*>(sends[rank].buffer.data);
  sends.erase(sends.begin() + communicator.rank());
  receives.erase(receives.begin() + communicator.rank());
  Work exchange = communicator.exchange(sends, receives, after);
  return Work(
      std::make_unique<ScatteredSum>(std::move(exchange), std::move(pieces), mine, arrived, queue),
      {contribution, mine});
}

std::string broadcast_text(Communicator& communicator, const std::string& text, int root) {
  auto length = static_cast<int64_t>(text.size());
  communicator.broadcast(view(std::span<int64_t>(&length, 1)), root).wait();
  std::string result = communicator.rank() == root ? text : std::string();
  result.resize(static_cast<size_t>(length));
  communicator.broadcast(Buffer{result.data(), length, DType::kUInt8}, root).wait();
  return result;
}

std::vector<std::string> gather_text(Communicator& communicator,
                                     const std::string& text,
                                     int root) {
  const bool is_root = communicator.rank() == root;
  auto length = static_cast<int64_t>(text.size());
  std::vector<int64_t> lengths(is_root ? static_cast<size_t>(communicator.world_size()) : 0);
  std::vector<std::string> texts(lengths.size());
  std::vector<Message> receives;
  const auto exchange = [&](const Buffer& mine) {
    communicator.exchange(std::vector<Message>{{root, mine}}, receives).wait();
    receives.clear();
  };
  for (size_t rank = 0; rank < lengths.size(); ++rank) {
    receives.push_back({static_cast<int>(rank), view(std::span<int64_t>(&lengths[rank], 1))});
  }
  exchange(view(std::span<int64_t>(&length, 1)));
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    texts[rank].resize(static_cast<size_t>(lengths[rank]));
    receives.push_back(
        {static_cast<int>(rank), Buffer{texts[rank].data(), lengths[rank], DType::kUInt8}});
  }
  exchange(Buffer{const_cast<char*>(text.data()), length, DType::kUInt8});
  return texts;
}

std::vector<std::string> all_gather_text(Communicator& communicator, const std::string& text) {
  const auto length = static_cast<int64_t>(text.size());
  std::vector<int64_t> lengths(static_cast<size_t>(communicator.world_size()));
  all_gather(
      communicator, view(std::span<const int64_t>(&length, 1)), view(std::span<int64_t>(lengths)))
      .wait();

  std::vector<std::string> texts(lengths.size());
  std::vector<Message> sends;
  std::vector<Message> receives;
  for (int peer = 0; peer < communicator.world_size(); ++peer) {
    std::string& place = texts[peer];
    place.resize(static_cast<size_t>(lengths[peer]));
    sends.push_back({peer, Buffer{const_cast<char*>(text.data()), length, DType::kUInt8}});
    receives.push_back({peer, Buffer{place.data(), lengths[peer], DType::kUInt8}});
  }
  communicator.exchange(sends, receives).wait();
  return texts;
}

}  // namespace enodia
