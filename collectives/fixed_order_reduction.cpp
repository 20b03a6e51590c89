#include "collectives/fixed_order_reduction.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "collectives/queue_event.h"
#include "collectives/sharing_rounds.h"
#include "common/check.h"

namespace enodia {

FixedOrderReduction::FixedOrderReduction(Communicator& communicator,
                                         Buffer inout,
                                         ReduceOp op,
                                         const Queue& queue)
    : communicator_(communicator),
      inout_(std::move(inout)),
      op_(op),
      queue_(queue) {
  ENODIA_CHECK((inout_.device < 0) == is_host(queue), "a buffer and a queue of other devices");
}

/// Rank `rank`'s part: elements are split evenly, the first ranks get one more.
Buffer FixedOrderReduction::part_of(int rank) const {
  const int world_size = communicator_.world_size();
  const int64_t length = inout_.count / world_size;
  const int64_t rest = inout_.count % world_size;
  return inout_.slice(length * rank + std::min<int64_t>(rank, rest),
                      length + (rank < rest ? 1 : 0));
}

Work FixedOrderReduction::gather(const Queue& after) {
  const Buffer own = part_of(communicator_.rank());
  arrived_ = std::static_pointer_cast<std::byte>(
      allocate(queue_, static_cast<size_t>(own.bytes() * communicator_.world_size())));
  std::vector<Message> sends;
  std::vector<Message> receives;
  for (int peer = 0; peer < communicator_.world_size(); ++peer) {
    if (peer != communicator_.rank()) {
      sends.push_back({peer, part_of(peer)});
      Buffer arriving = own;
      arriving.data = arrived_.get() + peer * own.bytes();
      receives.push_back({peer, std::move(arriving)});
    }
  }
  return communicator_.exchange(sends, receives, after);
}

void FixedOrderReduction::reduce() {
  const Buffer own = part_of(communicator_.rank());
  std::vector<const std::byte*> contributions;
  for (int peer = 0; peer < communicator_.world_size(); ++peer) {
    contributions.push_back(peer == communicator_.rank() ? static_cast<const std::byte*>(own.data)
                                                         : arrived_.get() + peer * own.bytes());
  }
  queue_.reduce(contributions, static_cast<std::byte*>(own.data), own.count, own.dtype, op_);
  arrived_.reset();
}

std::vector<ExchangeRound> FixedOrderReduction::share() const {
  std::vector<std::vector<Buffer>> parts;
  for (int rank = 0; rank < communicator_.world_size(); ++rank) {
    parts.push_back({part_of(rank)});
  }
  return sharing_rounds(communicator_, parts);
}

}  // namespace enodia
