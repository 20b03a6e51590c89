#include "collectives/sparse/sparse_collectives.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "collectives/queue_event.h"
#include "collectives/sparse/packed_exchange.h"
#include "collectives/sparse/scratch_buffer.h"
#include "common/check.h"

namespace enodia {
namespace {

/// What has arrived for a chunk.
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

void check_summable(const Buffer& buffer) {
  ENODIA_CHECK(buffer.dtype == DType::kFloat32 || buffer.dtype == DType::kFloat64,
               "sparse_reduce_scatter sums float32 and float64, not ",
               name_of(buffer.dtype));
}

/// The rounds of a reduce-scatter; adds what came to owners once all is there.
class HomeComing : public PendingOperation {
 public:
  HomeComing(Work rounds, std::vector<Addition> additions)
      : rounds_(std::move(rounds)),
        additions_(std::move(additions)) {}
  void wait(const Queue& queue) override {
    const Queue on = additions_.empty() ? queue : additions_.front().on;
    rounds_.wait(on);
    for (const Addition& addition : additions_) {
      accumulate(addition);
    }
    wait_between(on, queue);
  }
  bool done() override { return rounds_.done(); }

 private:
  Work rounds_;
  std::vector<Addition> additions_;
};

/// A single round is an ordinary exchange, whose messages are packed, and which a communication
/// thread may cut.
Work exchange_rounds(Communicator& communicator,
                     std::vector<ExchangeRound> rounds,
                     const Queue& after) {
  if (rounds.size() == 1 && !rounds.front().finish) {
    return exchange_packed(communicator, rounds.front().sends, rounds.front().receives, after);
  }
  return communicator.exchange_in_rounds(std::move(rounds), after);
}

}  // namespace

Work sparse_all_gather(Communicator& communicator,
                       const SparseSchedule& schedule,
                       const ChunkBuffer& owned,
                       const ChunkBuffer& held,
                       const Queue& after) {
  const int rank = communicator.rank();
  std::vector<ExchangeRound> rounds;
  for (const auto& [transfers, before] : schedule.rounds) {
    ExchangeRound& round = rounds.emplace_back();
    round.after = before;
    for (const auto& [chunk, from, to, first, count] : transfers) {
      if (from == rank) {
        const ChunkBuffer& source = schedule.owners[chunk] == rank ? owned : held;
        round.sends.push_back({to, source(chunk).slice(first, count)});
      }
      if (to == rank) {
        round.receives.push_back({from, held(chunk).slice(first, count)});
      }
    }
  }
  return exchange_rounds(communicator, std::move(rounds), after);
}

Work sparse_reduce_scatter(Communicator& communicator,
                           const SparseSchedule& schedule,
                           const ChunkBuffer& held,
                           const ChunkBuffer& owned,
                           const Queue& after) {
  const int rank = communicator.rank();
  const SparseSchedule homewards = transposed(schedule);
  std::vector<ExchangeRound> rounds;
  std::vector<Addition> at_home;
  for (const auto& [transfers, before] : homewards.rounds) {
    ExchangeRound& round = rounds.emplace_back();
    round.after = before;
    std::vector<Addition> on_the_way;
    for (const auto& [chunk, from, to, first, count] : transfers) {
      if (from == rank) {
        round.sends.push_back({to, held(chunk).slice(first, count)});
      }
      if (to == rank) {
        const bool is_home = schedule.owners[chunk] == rank;
        const Buffer sum = (is_home ? owned : held)(chunk).slice(first, count);
        check_summable(sum);
        const Queue on = sum.device < 0 ? Queue() : after;
        const Buffer arrived = scratch_like(sum, on);
        round.receives.push_back({from, arrived});
        (is_home ? at_home : on_the_way).push_back({arrived, sum, on});
      }
    }
    if (!on_the_way.empty()) {
      round.finish = [additions = std::move(on_the_way)] {
        std::for_each(additions.begin(), additions.end(), accumulate);
      };
    }
  }
  Work under_way = exchange_rounds(communicator, std::move(rounds), after);
  return Work(std::make_unique<HomeComing>(std::move(under_way), std::move(at_home)));
}

}  // namespace enodia
