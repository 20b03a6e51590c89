#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/watch/observed_rank.h"
#include "collectives/watch/status_board.h"

namespace enodia {

/// Lets ranks read the boards of other nodes when a job hangs, through TCP connections of its own:
/// the messages of the job are what nobody can count on then. A thread of each rank answers, so
/// that a node can be asked as long as one of its ranks runs. A world of one node has no need of
/// that and gets no thread.
class BoardNetwork {
 public:
  /// Collective over the world. `board` outlives it.
  BoardNetwork(Communicator& world, const StatusBoard& board);
  ~BoardNetwork();
  BoardNetwork(const BoardNetwork&) = delete;
  BoardNetwork& operator=(const BoardNetwork&) = delete;

  /// Every other node, in order; all are asked at once, and each has `patience` to answer. Local.
  std::vector<ObservedNode> ask(std::chrono::milliseconds patience) const;

 private:
  void listen();
  void answer_all();
  ObservedNode ask_node(int node, std::chrono::steady_clock::time_point deadline) const;

  const StatusBoard& board_;
  const int rank_;
  uint64_t job_ = 0;                    // a number that strangers do not know
  std::vector<std::string> addresses_;  // of each rank: "PORT HOST HOST ..."
  int listener_ = -1;
  int stopping_ = -1;  // an eventfd
  std::thread thread_;
};

}  // namespace enodia
