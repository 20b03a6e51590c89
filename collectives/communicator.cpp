#include "collectives/communicator.h"

#include <utility>

#include "collectives/collectives.h"
#include "collectives/queue_event.h"

namespace enodia {
namespace {

/// Rounds that have been started, finished in order.
class RoundsUnderWay : public PendingOperation {
 public:
  explicit RoundsUnderWay(const Queue& on) : on_(on) {}
  void add(Work work, std::function<void()> finish) {
    rounds_.emplace_back(std::move(work), std::move(finish));
  }
  void finish_up_to(int last) {
    for (; finished_ <= last; ++finished_) {
      auto& [work, finish] = rounds_[finished_];
      work.wait(on_);
      if (finish) {
        finish();
      }
    }
  }
  void wait(const Queue& queue) override {
    finish_up_to(static_cast<int>(rounds_.size()) - 1);
    wait_between(on_, queue);
  }
  bool done() override {
    for (size_t i = finished_; i < rounds_.size(); ++i) {
      if (rounds_[i].second || !rounds_[i].first.done()) {
        return false;
      }
    }
    return true;
  }

 private:
  Queue on_;
  std::vector<std::pair<Work, std::function<void()>>> rounds_;
  int finished_ = 0;
};

}  // namespace

std::string_view name_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return "sum";
    case ReduceOp::kMin:
      return "min";
    case ReduceOp::kMax:
      return "max";
  }
  return "unknown";
}

Work Communicator::exchange_in_rounds(std::vector<ExchangeRound> rounds, const Queue& after) {
  auto under_way = std::make_unique<RoundsUnderWay>(after);
  for (ExchangeRound& round : rounds) {
    under_way->finish_up_to(round.after);
    under_way->add(exchange(round.sends, round.receives, after), std::move(round.finish));
  }
  return Work(std::move(under_way));
}

Work Communicator::all_reduce(Buffer inout, ReduceOp op, const Queue& after) {
  return fixed_order_all_reduce(*this, std::move(inout), op, after);
}

}  // namespace enodia
