#include "collectives/sparse/sparse_collectives.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace enodia {
namespace {

template <typename T>
void add(const Buffer& from, const Buffer& to) {
  const T* source = static_cast<const T*>(from.data);
  T* target = static_cast<T*>(to.data);
  for (int64_t i = 0; i < from.count; ++i) {
    target[i] += source[i];
  }
}

void accumulate(const Buffer& from, const Buffer& to) {
  ENODIA_CHECK(from.dtype == to.dtype && from.count == to.count, "chunks differ in size or type");
  if (from.dtype == DType::kFloat32) {
    add<float>(from, to);
  } else if (from.dtype == DType::kFloat64) {
    add<double>(from, to);
  } else {
    throw UsageError("sparse_reduce_scatter sums float32 and float64, not " +
                     std::string(name_of(from.dtype)));
  }
}

/// Memory from a queue's table, freed with the last buffer that views it.
Buffer scratch_like(const Buffer& model) {
  const Queue queue;
  Buffer scratch = model;
  scratch.data = queue.table().alloc(queue.handle(), static_cast<size_t>(model.bytes()));
  scratch.keep = std::shared_ptr<const void>(scratch.data, [queue](const void* memory) {
    queue.table().free(queue.handle(), const_cast<void*>(memory));
  });
  return scratch;
}

/// The exchange of a reduce-scatter; adds what arrived once it is there.
class HomeComing : public PendingOperation {
 public:
  HomeComing(Work exchange, std::vector<std::pair<Buffer, Buffer>> additions)
      : exchange_(std::move(exchange)),
        additions_(std::move(additions)) {}
  void wait(const Queue& queue) override {
    exchange_.wait(queue);
    for (const auto& [from, to] : additions_) {
      accumulate(from, to);
    }
  }
  bool done() override { return additions_.empty() && exchange_.done(); }

 private:
  Work exchange_;
  std::vector<std::pair<Buffer, Buffer>> additions_;
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
                       const ChunkBuffer& held) {
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
  return communicator.exchange(sends, receives);
}

Work sparse_reduce_scatter(Communicator& communicator,
                           const SparseSchedule& schedule,
                           const ChunkBuffer& held,
                           const ChunkBuffer& owned) {
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::vector<std::pair<Buffer, Buffer>> additions;
  for (const ChunkTransfer& transfer : schedule) {
    if (transfer.holder == communicator.rank()) {
      sends.push_back({transfer.owner, held(transfer.chunk)});
    }
    if (transfer.owner == communicator.rank()) {
      const Buffer home = owned(transfer.chunk);
      const Buffer arrived = scratch_like(home);
      receives.push_back({transfer.holder, arrived});
      additions.emplace_back(arrived, home);
    }
  }
  Work exchange = communicator.exchange(sends, receives);
  return Work(std::make_unique<HomeComing>(std::move(exchange), std::move(additions)));
}

}  // namespace enodia
