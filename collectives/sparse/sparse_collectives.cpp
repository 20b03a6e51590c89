#include "collectives/sparse/sparse_collectives.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "collectives/queue_event.h"
#include "common/check.h"

namespace enodia {
namespace {

/// What has arrived for a chunk at home.
struct Addition {
  Buffer from, to;
  Queue on;  // that works on this memory
};

void accumulate(const Addition& addition) {
  const auto& [from, to, on] = addition;
  const std::array<const std::byte*, 2> terms{static_cast<const std::byte*>(to.data),
                                              static_cast<const std::byte*>(from.data)};
  on.reduce(terms, static_cast<std::byte*>(to.data), to.count, to.dtype, ReduceOp::kSum);
}

/// Memory from a queue's table, freed with the last buffer that views it.
Buffer scratch_like(const Buffer& model, const Queue& queue) {
  Buffer scratch = model;
  const std::shared_ptr<void> memory = allocate(queue, static_cast<size_t>(model.bytes()));
  scratch.data = memory.get();
  scratch.keep = memory;
  return scratch;
}

/// The exchange of a reduce-scatter; adds what arrived once it is there.
class HomeComing : public PendingOperation {
 public:
  HomeComing(Work exchange, std::vector<Addition> additions)
      : exchange_(std::move(exchange)),
        additions_(std::move(additions)) {}
  void wait(const Queue& queue) override {
    const Queue on = additions_.empty() ? queue : additions_.front().on;
    exchange_.wait(on);
    for (const Addition& addition : additions_) {
      accumulate(addition);
    }
    wait_between(on, queue);
  }
  bool done() override { return additions_.empty() && exchange_.done(); }

 private:
  Work exchange_;
  std::vector<Addition> additions_;
};

}  // namespace

SparseSchedule direct_schedule(std::span<const int32_t> owners,
                               std::span<const std::vector<int32_t>> holders) {
  ENODIA_CHECK_EQ(owners.size(), holders.size(), "one owner and one list of holders a chunk");
  SparseSchedule schedule;
  for (size_t chunk = 0; chunk < owners.size(); ++chunk) {
    std::vector<int32_t> ranks = holders[chunk];
    std::sort(ranks.begin(), ranks.end());
    for (const int32_t holder : ranks) {
      if (holder != owners[chunk]) {
        schedule.push_back({static_cast<int32_t>(chunk), owners[chunk], holder});
      }
    }
  }
  return schedule;
}

Work sparse_all_gather(Communicator& communicator,
                       const SparseSchedule& schedule,
                       const ChunkBuffer& owned,
                       const ChunkBuffer& held,
                       const Queue& after) {
  std::vector<Message> sends;
  std::vector<Message> receives;
  for (const ChunkTransfer& transfer : schedule) {
    if (transfer.owner == communicator.rank()) {
      sends.push_back({transfer.holder, owned(transfer.chunk)});
    }
    if (transfer.holder == communicator.rank()) {
      receives.push_back({transfer.owner, held(transfer.chunk)});
    }
  }
  return communicator.exchange(sends, receives, after);
}

Work sparse_reduce_scatter(Communicator& communicator,
                           const SparseSchedule& schedule,
                           const ChunkBuffer& held,
                           const ChunkBuffer& owned,
                           const Queue& after) {
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::vector<Addition> additions;
  for (const ChunkTransfer& transfer : schedule) {
    if (transfer.holder == communicator.rank()) {
      sends.push_back({transfer.owner, held(transfer.chunk)});
    }
    if (transfer.owner == communicator.rank()) {
      const Buffer home = owned(transfer.chunk);
      ENODIA_CHECK(home.dtype == DType::kFloat32 || home.dtype == DType::kFloat64,
                   "sparse_reduce_scatter sums float32 and float64, not ",
                   name_of(home.dtype));
      const Queue on = home.device < 0 ? Queue() : after;
      const Buffer arrived = scratch_like(home, on);
      receives.push_back({transfer.holder, arrived});
      additions.push_back({arrived, home, on});
    }
  }
  Work exchange = communicator.exchange(sends, receives, after);
  return Work(std::make_unique<HomeComing>(std::move(exchange), std::move(additions)));
}

}  // namespace enodia
