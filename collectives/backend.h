#pragma once

#include <span>
#include <string>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// What the backends of Communicator share. Callers of communicators do not need this header. All
/// functions are local.

/// Throws UsageError unless all peers are ranks of the communicator, no count is negative and no
/// message with elements lacks data.
void check_messages(std::span<const Message> sends,
                    std::span<const Message> receives,
                    int world_size);

/// Copies what `rank` sends to itself, the i-th send to the i-th receive, and returns when that is
/// done. Throws UsageError when their numbers differ, CommError when a pair does not fit.
void copy_own_messages(std::span<const Message> sends,
                       std::span<const Message> receives,
                       int rank,
                       const Queue& queue);

/// Blocks the host until all that was queued so far is done.
void synchronize(const Queue& queue);

/// True when a send and its receive agree on count and dtype.
bool fit(const Buffer& sent, const Buffer& expected);

/// "5 float32".
std::string describe(const Buffer& buffer);

/// The sentence for a send and a receive that do not fit.
std::string describe_mismatch(int sender, const Buffer& sent, int receiver, const Buffer& expected);

/// The buffers of both sides, for a Work to keep.
std::vector<Buffer> buffers_of(std::span<const Message> sends, std::span<const Message> receives);

/// Renumbers ids from 0 in the order in which they first occur: {7, 3, 7} gives {0, 1, 0}.
std::vector<int> dense_ids(std::span<const int> ids);

}  // namespace enodia
