#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "collectives/buffer.h"
#include "collectives/queue.h"
#include "collectives/reduce_op.h"
#include "collectives/work.h"

namespace enodia {

/// One point-to-point message of an exchange.
struct Message {
  int peer;  ///< rank in this communicator; the own rank is legal and copies
  Buffer buffer;
  /// Above 0 in exchanges that not all ranks make: chunks of messages of the exchange before, talk
  /// between two ranks. Backends that number exchanges, to notice a rank that has left one out, do
  /// not count them.
  int part = 0;
};

/// One of several exchanges that follow each other.
struct ExchangeRound {
  std::vector<Message> sends, receives;
  /// Local work on what has arrived; may be empty. By the communication thread, where there is one.
  std::function<void()> finish = {};
  int after = -1;  ///< the round that must have been finished before this starts
};

/// A group of ranks that talk to each other. Backends: mpi, loopback (ranks as threads of one
/// process), nccl (device memory). Everything else (all-to-all, gathers, reductions in a fixed
/// order) is a free function on `exchange`, in collectives.h.
///
/// All ranks of the communicator call its operations in the same order. Operations never depend on
/// the others' progress beyond that: counts may differ and be zero, counts above INT_MAX work, and
/// a world of one copies. Every operation starts after `after` and its result may be seen by the
/// queue given to Work::wait; buffers stay untouched in between. Throws CommError.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int world_size() const = 0;

  /// Sends and receives a batch of messages. The i-th send from a to b meets the i-th receive of b
  /// from a, counted over all exchanges; both have the same count and dtype. Messages to oneself
  /// pair up within one exchange. A UsageError names peers that do not exist and null data.
  virtual Work exchange(std::span<const Message> sends,
                        std::span<const Message> receives,
                        const Queue& after = Queue()) = 0;

  /// Exchanges that start in order, each when the round `after` has been finished. All ranks name
  /// the same number of rounds with the same `after`. The default makes them one by one and blocks
  /// the host until the last may start, or queues them on `after` when that is a device's.
  virtual Work exchange_in_rounds(std::vector<ExchangeRound> rounds, const Queue& after = Queue());

  /// Combines the buffers of all ranks; every rank gets the same bits. The default is
  /// fixed_order_all_reduce (rank order, float64 never narrowed, bfloat16 summed in float32); nccl
  /// has its own order and roundings.
  virtual Work all_reduce(Buffer inout, ReduceOp op, const Queue& after = Queue());

  virtual Work broadcast(Buffer inout, int root, const Queue& after = Queue()) = 0;
  virtual void barrier() = 0;

  /// Collective: ranks of equal color (not negative) form a new communicator, ordered by
  /// (key, rank). Called at start-up only.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

  /// Which node each rank of this communicator lives on: dense ids from 0 in order of first rank.
  virtual std::span<const int> nodes() const = 0;
};

}  // namespace enodia
