#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// All functions here are collective over `communicator` and built on exchange alone.

/// FixedOrderReduction from beginning to end. Returns when the sums are on their way to all.
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
