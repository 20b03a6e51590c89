#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "collectives/progress/communication_thread.h"

namespace enodia {

/// A communicator whose calls are carried out by the communication thread, in chunks. Made by
/// CommunicationThread::take_over.
class ThreadedCommunicator : public Communicator {
 public:
  ThreadedCommunicator(CommunicationThread& thread,
                       std::unique_ptr<Communicator> inner,
                       Traffic traffic);
  ~ThreadedCommunicator() override;

  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  std::span<const int> nodes() const override { return inner_->nodes(); }
  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override;
  /// Rounds are not cut.
  Work exchange_in_rounds(std::vector<ExchangeRound> rounds, const Queue& after) override;
  Work all_reduce(Buffer inout, ReduceOp op, const Queue& after) override;
  Work broadcast(Buffer inout, int root, const Queue& after) override;
  void barrier() override;
  std::unique_ptr<Communicator> split(int color, int key) override;

 private:
  Work submit(std::vector<Stage> stages, const char* name, std::vector<Buffer> buffers);

  CommunicationThread& thread_;
  std::unique_ptr<Communicator> inner_;
  Lane& lane_;
  int64_t sequence_ = 0;
};

}  // namespace enodia
