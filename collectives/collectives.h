#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// All functions here are collective over `communicator` and built on exchange alone.

/// FixedOrderReduction from beginning to end. Returns when the sums are on their way to all. Memory
/// of a device is summed on `after`.
Work fixed_order_all_reduce(Communicator& communicator,
                            Buffer inout,
                            ReduceOp op,
                            const Queue& after);

/// Rank r's `send_counts[p]` elements (in peer order, contiguous in `send`) go to rank p;
/// `receive_counts[p]` elements arrive from p, in peer order.
Work all_to_all(Communicator& communicator,
                const Buffer& send,
                std::span<const int64_t> send_counts,
                const Buffer& receive,
                std::span<const int64_t> receive_counts,
                const Queue& after = Queue());

/// Every rank's `mine` (the same count everywhere), in rank order: receive.count = world * count.
Work all_gather(Communicator& communicator,
                const Buffer& mine,
                const Buffer& receive,
                const Queue& after = Queue());

/// The same with `counts[r]` elements of rank r: receive.count is their sum.
Work all_gather(Communicator& communicator,
                const Buffer& mine,
                std::span<const int64_t> counts,
                const Buffer& receive,
                const Queue& after = Queue());

/// Every rank contributes the sum of `counts` elements, one piece for each rank one after the
/// other; rank r gets the sum of all ranks' pieces r, added in rank order in the wide type, in
/// `mine` (counts[r] elements, which may be its own piece of `contribution`). The sum is made when
/// the Work is waited for, by `after`'s queue when the memory is a device's. The bits are those
/// that fixed_order_all_reduce gives.
Work reduce_scatter(Communicator& communicator,
                    const Buffer& contribution,
                    std::span<const int64_t> counts,
                    const Buffer& mine,
                    const Queue& after = Queue());

/// The root's text on every rank; any length. What the other ranks pass is ignored.
std::string broadcast_text(Communicator& communicator, const std::string& text, int root);

/// Every rank's text, in rank order, on every rank.
std::vector<std::string> all_gather_text(Communicator& communicator, const std::string& text);

/// Every rank's text, in rank order, on the root; nothing on the others.
std::vector<std::string> gather_text(Communicator& communicator, const std::string& text, int root);

/// Reduces one number over all ranks; blocks.
template <typename T>
T all_reduce_value(Communicator& communicator, T value, ReduceOp op) {
  communicator.all_reduce(view(std::span<T>(&value, 1)), op).wait();
  return value;
}

}  // namespace enodia
