#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// The reduction behind Communicator::all_reduce, in its three parts, for whoever drives it.
/// Elements are split evenly over the ranks; each rank receives its part from all others, sums in
/// rank order in the wide type, and sends the result to all. Bits depend on the number of ranks
/// only, not on timing, backend or how a buffer is cut up.
class FixedOrderReduction {
 public:
  /// `queue` is of the device that the buffer lies on.
  FixedOrderReduction(Communicator& communicator,
                      Buffer inout,
                      ReduceOp op,
                      const Queue& queue = Queue());

  /// Collective: what the others have of this rank's part is on its way here.
  Work gather(const Queue& after);
  /// Local, after the gather has been waited for, by the queue or the host.
  void reduce();
  /// Local, then: the exchanges that bring the results to all (sharing_rounds.h).
  std::vector<ExchangeRound> share() const;

 private:
  Buffer part_of(int rank) const;

  Communicator& communicator_;
  Buffer inout_;
  ReduceOp op_;
  Queue queue_;
  std::shared_ptr<std::byte> arrived_;  // every other rank's share of this rank's part
};

}  // namespace enodia
