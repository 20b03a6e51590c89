#include "collectives/watch/observed_rank.h"

#include <cstddef>

namespace enodia {
namespace {

constexpr size_t kOperation = 4;                                         // numbers of an operation
constexpr size_t kRank = 7 + (2 * kAllTraffic.size() + 1) * kOperation;  // of a rank

void append(std::vector<int64_t>& numbers, const Operation& operation) {
  numbers.push_back(static_cast<int64_t>(operation.traffic));
  numbers.push_back(static_cast<int64_t>(operation.kind));
  numbers.push_back(operation.sequence);
  numbers.push_back(operation.bytes);
}

Operation take_operation(std::span<const int64_t>& numbers) {
  const Operation operation{static_cast<Traffic>(numbers[0]),
                            static_cast<OperationKind>(numbers[1]),
                            numbers[2],
                            numbers[3]};
  numbers = numbers.subspan(kOperation);
  return operation;
}

ObservedRank take_rank(std::span<const int64_t> numbers) {
  ObservedRank rank;
  RankStatus& status = rank.status;
  status.rank = static_cast<int>(numbers[0]);
  status.process = static_cast<int>(numbers[1]);
  status.section = static_cast<RunSection>(numbers[2]);
  status.step = numbers[3];
  status.signs_of_life = static_cast<uint64_t>(numbers[4]);
  rank.process = static_cast<ProcessState>(numbers[5]);
  const bool waits = numbers[6] != 0;
  numbers = numbers.subspan(7);
  for (size_t i = 0; i < kAllTraffic.size(); ++i) {
    status.started[i] = take_operation(numbers);
    status.finished[i] = take_operation(numbers);
  }
  const Operation waiting = take_operation(numbers);
  if (waits) {
    status.waiting = waiting;
  }
  return rank;
}

}  // namespace

std::vector<ObservedRank> observe(const StatusBoard& board) {
  std::vector<ObservedRank> ranks;
  for (int slot = 0; slot < board.num_slots(); ++slot) {
    const RankStatus status = board.read(slot);
    ranks.push_back({status, status.rank >= 0 ? state_of(status.process) : ProcessState::kGone});
  }
  return ranks;
}

std::vector<int64_t> to_numbers(std::span<const ObservedRank> ranks) {
  std::vector<int64_t> numbers;
  for (const ObservedRank& rank : ranks) {
    const RankStatus& status = rank.status;
    numbers.insert(numbers.end(),
                   {status.rank,
                    status.process,
                    static_cast<int64_t>(status.section),
                    status.step,
                    static_cast<int64_t>(status.signs_of_life),
                    static_cast<int64_t>(rank.process),
                    status.waiting.has_value()});
    for (size_t i = 0; i < kAllTraffic.size(); ++i) {
      append(numbers, status.started[i]);
      append(numbers, status.finished[i]);
    }
    append(numbers, status.waiting.value_or(Operation()));
  }
  return numbers;
}

std::vector<ObservedRank> observed_ranks(std::span<const int64_t> numbers) {
  std::vector<ObservedRank> ranks;
  if (numbers.size() % kRank != 0) {
    return ranks;
  }
  for (; !numbers.empty(); numbers = numbers.subspan(kRank)) {
    ranks.push_back(take_rank(numbers.first(kRank)));
  }
  return ranks;
}

}  // namespace enodia
